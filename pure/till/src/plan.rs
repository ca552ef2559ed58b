//! What comes next: sign-in, downloads and everything pending before the goal itself (unionpay-pos §3.5, D31).

use crate::config::limits::SIGN_INS_PER_JOB_MAX;
use crate::machine::{Goal, Job, Till, Turn};
use crate::state::orders;
use crate::text::Text;
use crate::words::{Operation, OutcomeStatus, Screen, TransactionOutcome};
use iso8583::unionpay::DownloadSet;
use types::Stan;

/// The next step of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    SignIn,
    Download(DownloadSet),
    ScriptNotice,
    Reversal,
    Notice(Stan),
    Signature(Stan),
    Settlement,
    StatusUpload,
    SignOff,
    Goal,
    Done,
}

impl Till {
    pub(crate) fn plan(&mut self, turn: &mut Turn) {
        let Some(job) = &self.job else { return };
        match self.next_step(job) {
            Step::SignIn => self.sign_in_or_fail(turn),
            Step::Download(set) => self.begin_download(turn, set),
            Step::ScriptNotice => self.send_script_notice(turn),
            Step::Reversal => self.send_reversal(turn),
            Step::Notice(stan) => self.send_notice(turn, stan),
            Step::Signature(stan) => self.send_signature(turn, stan),
            Step::Settlement => self.go_on_with_settlement(turn),
            Step::StatusUpload => self.send_status(turn),
            Step::SignOff => self.send_sign_off(turn),
            Step::Goal => self.run_goal(turn),
            Step::Done => self.reached(turn),
        }
    }

    fn next_step(&self, job: &Job) -> Step {
        match &job.goal {
            Goal::Echo if job.reached => Step::Done,
            Goal::Echo => Step::Goal,
            Goal::SignIn => self.sign_in_step(job),
            Goal::Payment(_) => self.payment_step(job),
            Goal::SignOff if job.reached => Step::Done,
            Goal::SignOff => self.flush_step(job).unwrap_or(Step::Goal),
            Goal::Settle => self.settle_step(job),
            Goal::Download(_) | Goal::ReportStatus if job.reached => Step::Done,
            Goal::Download(_) | Goal::ReportStatus if !self.state.signed_in || job.sign_in_wanted => Step::SignIn,
            Goal::Download(set) => Step::Download(*set),
            Goal::ReportStatus => Step::StatusUpload,
            Goal::Pending { .. } => self.pending_step(job),
        }
    }

    fn sign_in_step(&self, job: &Job) -> Step {
        if job.sign_ins == 0 {
            return Step::SignIn;
        }
        self.parameter_step(job).unwrap_or(Step::Done)
    }

    /// A download that is missing, or that the host ordered and that this job has not obeyed yet.
    fn parameter_step(&self, job: &Job) -> Option<Step> {
        let ordered = |order: u8| (self.state.orders & !job.obeyed) & (1 << order) != 0;
        if !self.state.capks_loaded || ordered(orders::CAPKS) {
            return Some(Step::Download(DownloadSet::Capks));
        }
        (!self.state.aids_loaded || ordered(orders::AIDS)).then_some(Step::Download(DownloadSet::Aids))
    }

    /// Only what is missing holds up a payment; an update waits until the till is idle.
    fn missing_parameters(&self) -> Option<DownloadSet> {
        match (self.state.capks_loaded, self.state.aids_loaded) {
            (false, _) => Some(DownloadSet::Capks),
            (true, false) => Some(DownloadSet::Aids),
            (true, true) => None,
        }
    }

    fn payment_step(&self, job: &Job) -> Step {
        let missing = self.missing_parameters();
        if !self.state.signed_in || job.sign_in_wanted || (missing.is_some() && job.sign_ins == 0) {
            return Step::SignIn;
        }
        missing.map(Step::Download).or_else(|| self.flush_step(job)).unwrap_or(Step::Goal)
    }

    /// Behind everything that moves money; one that was refused too often waits for the settlement.
    fn next_signature(&self, job: &Job) -> Option<Stan> {
        let management = &self.state.management;
        let untried = |stan: &Stan| !job.signatures_tried.contains(stan);
        match job.goal {
            Goal::Settle => management.waiting_signatures().map(|signature| signature.stan).find(untried),
            _ => management.hopeful_signatures().map(|signature| signature.stan).find(untried),
        }
    }

    /// Script notice, reversal, notices, signatures: in this order before anything new.
    fn flush_step(&self, job: &Job) -> Option<Step> {
        // Parameter 24: some hosts want them at the settlement only, and in between when nobody waits.
        let wait = job.notices_wait || (job.is_payment() && !self.config.upload_before_transaction);
        let untried = |stan: &Stan| !wait && !job.notices_tried.contains(stan);
        let notice = self.state.queued_notices().map(|notice| notice.stan).find(untried);
        let step = match (&self.state.script_notice, &self.state.reversal, notice) {
            (Some(_), _, _) => Step::ScriptNotice,
            (None, Some(_), _) => Step::Reversal,
            (None, None, Some(stan)) => Step::Notice(stan),
            (None, None, None) => Step::Signature(self.next_signature(job)?),
        };
        Some(if self.state.signed_in { step } else { Step::SignIn })
    }

    fn settle_step(&self, job: &Job) -> Step {
        match self.flush_step(job) {
            Some(step) => step,
            None if job.sign_off_wanted && self.state.signed_in => Step::SignOff,
            None if job.reached => Step::Done,
            None if !self.state.signed_in => Step::SignIn,
            None => Step::Settlement,
        }
    }

    fn pending_step(&self, job: &Job) -> Step {
        if job.sign_in_wanted {
            return Step::SignIn;
        }
        if let Some(step) = self.flush_step(job) {
            return step;
        }
        let order = self.state.next_order(job.obeyed);
        let step = match (&self.state.settlement, order, order.and_then(DownloadSet::of_order)) {
            (Some(_), _, _) => Step::Settlement,
            (None, _, _) if job.sign_off_wanted && self.state.signed_in => return Step::SignOff,
            (None, Some(orders::SIGN_IN), _) => return Step::SignIn,
            (None, Some(orders::STATUS), _) => Step::StatusUpload,
            (None, _, Some(set)) => Step::Download(set),
            (None, _, None) => return Step::Done,
        };
        if self.state.signed_in { step } else { Step::SignIn }
    }

    fn sign_in_or_fail(&mut self, turn: &mut Turn) {
        let missing = self.missing_parameters().is_some();
        let Some(job) = &mut self.job else { return };
        if job.sign_ins >= SIGN_INS_PER_JOB_MAX {
            job.flush_failed = true;
            if self.state.reversal.is_some() {
                return self.occasion_failed(turn);
            }
            return self.fail(turn, Text::new("签到后主机仍要求签到", "The host keeps asking for a new sign-in"));
        }
        if matches!(job.goal, Goal::Payment(_)) && missing && job.sign_ins == 0 {
            let (capks, aids) = (!self.state.capks_loaded, !self.state.aids_loaded);
            turn.show(Screen::ParametersMissing { capks, aids });
        }
        self.send_sign_in(turn);
    }

    fn run_goal(&mut self, turn: &mut Turn) {
        let Some(job) = &self.job else { return };
        match job.goal.clone() {
            Goal::Echo => self.send_echo(turn),
            Goal::SignOff => self.send_sign_off(turn),
            Goal::Payment(goal) => self.begin_payment(turn, *goal),
            Goal::SignIn | Goal::Settle | Goal::Download(_) | Goal::ReportStatus | Goal::Pending { .. } => {
                self.reached(turn);
            }
        }
    }

    /// The goal is reached: says so.
    fn reached(&mut self, turn: &mut Turn) {
        let Some(job) = &self.job else { return };
        let operation = job.goal.operation();
        let left = operation == Operation::Pending && self.state.anything_pending();
        let (status, message) = match operation {
            Operation::Pending if left => (
                OutcomeStatus::Failed,
                Text::new("仍有未完成事项", "Something is still pending; the till will try again by itself"),
            ),
            other => {
                let name = other.text();
                (OutcomeStatus::Done, Text::new(format!("{}成功", name.zh), format!("{} done", name.en)))
            }
        };
        let mut outcome = TransactionOutcome::new(operation, status, message);
        let closed = self.state.last_settlement.as_ref().filter(|_| operation == Operation::Settlement);
        outcome.batch = Some(closed.map_or(self.state.batch, |report| report.batch));
        outcome.stan = closed.map(|report| report.stan);
        self.finish(turn, outcome);
    }
}
