//! One message from its template to its checked answer: the PED completes it, the link carries it, the PED checks what comes.

use crate::config::limits::TRACE_BYTES_MAX;
use crate::download::DownloadStep;
use crate::machine::{Activity, Till, Turn};
use crate::message::Request;
use crate::record::{Record, SignOutReason};
use crate::response;
use crate::settlement::UploadItem;
use crate::state::orders;
use crate::text::Text;
use crate::words::Effect;
use pedlink::{Expected, OpaqueFrame, PedCommand, ResponseFault, ResponseSummary, SealedBlob, TraceLine};
use types::Stan;

/// Which message is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    SignIn,
    SignOff,
    Echo,
    Download(DownloadStep),
    StatusUpload,
    Payment,
    QrQuery,
    Reversal,
    ScriptNotice,
    Notice(Stan),
    Signature(Stan),
    Settlement,
    Upload(UploadItem),
    BatchEnd,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Completing,
    Exchanging(u64),
    Checking,
}

/// A message under way.
#[derive(Debug)]
pub(crate) struct Wire {
    pub message: Message,
    pub phase: Phase,
    expected: Expected,
    pub trace: Vec<TraceLine>,
}

/// How a message ended.
#[derive(Debug)]
pub(crate) enum End {
    /// A valid answer.
    Answered(Box<ResponseSummary>),
    /// Surely no byte left.
    NotSent,
    /// No answer, or none that counts as one (§1.5).
    NoAnswer(Text),
    /// The answer's MAC is wrong or missing.
    MacWrong,
    /// The PED cannot complete the message.
    Refused { why: String, sign_in_needed: bool },
}

impl End {
    /// In words, for an operation that fails with it.
    pub fn text(&self) -> Text {
        match self {
            End::Answered(summary) => match summary.response_code {
                Some(code) => response::text(code),
                None => Text::new("主机应答无效", "The host's answer has no response code"),
            },
            End::NotSent => Text::new("无法连接主机,未发送", "No connection to the host; nothing was sent"),
            End::NoAnswer(text) => text.clone(),
            End::MacWrong => Text::new("应答MAC错", "The host's answer has a wrong authentication code"),
            End::Refused { why, .. } => Text::new(format!("密码键盘拒绝: {why}"), format!("PIN entry device: {why}")),
        }
    }
}

/// Cuts a trace to what a record may hold, and says so.
pub(crate) fn bounded(mut trace: Vec<TraceLine>) -> Vec<TraceLine> {
    let mut bytes = 0_usize;
    let fits = trace
        .iter()
        .take_while(|line| {
            bytes = bytes.saturating_add(line.topic.len() + line.text.len());
            bytes <= TRACE_BYTES_MAX
        })
        .count();
    if fits < trace.len() {
        trace.truncate(fits);
        trace.push(TraceLine { topic: "trace".to_owned(), text: "cut here: too long for one record".to_owned() });
    }
    trace
}

impl Till {
    /// Hands a message to the PED.
    pub(crate) fn send(&mut self, turn: &mut Turn, message: Message, request: Request) {
        let wire = Wire { message, phase: Phase::Completing, expected: request.expected, trace: Vec::new() };
        turn.ped(PedCommand::CompleteFrame { template: Box::new(request.template), account: request.account });
        self.wait_for(turn, Activity::Wire(Box::new(wire)), self.config.timeouts.ped_ms);
    }

    /// Takes the wire out if it is in the phase that an event belongs to.
    fn take_wire(&mut self, belongs: impl Fn(Phase) -> bool) -> Option<Wire> {
        match &self.activity {
            Activity::Wire(wire) if belongs(wire.phase) => match self.idle() {
                Activity::Wire(wire) => Some(*wire),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn frame_completed(
        &mut self,
        turn: &mut Turn,
        frame: OpaqueFrame,
        blob: Option<SealedBlob>,
        trace: Vec<TraceLine>,
    ) {
        let Some(mut wire) = self.take_wire(|phase| phase == Phase::Completing) else { return };
        if wire.message == Message::Payment {
            if !self.write_intent(turn, blob, trace) {
                return;
            }
        } else {
            wire.trace.extend(trace);
        }
        let exchange = self.next_exchange();
        let timeout_ms = self.config.timeouts.response_ms;
        turn.emit(Effect::Exchange { exchange, frame, timeout_ms });
        wire.phase = Phase::Exchanging(exchange);
        self.wait_for(turn, Activity::Wire(Box::new(wire)), timeout_ms);
    }

    pub(crate) fn frame_refused(&mut self, turn: &mut Turn, why: String, sign_in_needed: bool) {
        let Some(wire) = self.take_wire(|phase| phase == Phase::Completing) else { return };
        if sign_in_needed {
            self.sign_out(turn, SignOutReason::KeysGone);
        }
        self.ended(turn, wire, End::Refused { why, sign_in_needed });
    }

    pub(crate) fn link_response(&mut self, turn: &mut Turn, exchange: u64, frame: OpaqueFrame) {
        // A late answer belongs to no exchange under way and changes nothing.
        let Some(mut wire) = self.take_wire(|phase| phase == Phase::Exchanging(exchange)) else { return };
        turn.ped(PedCommand::CheckResponse { frame, expected: Box::new(wire.expected.clone()) });
        wire.phase = Phase::Checking;
        self.wait_for(turn, Activity::Wire(Box::new(wire)), self.config.timeouts.ped_ms);
    }

    pub(crate) fn link_failed(&mut self, turn: &mut Turn, exchange: u64, sent_any: bool) {
        let Some(wire) = self.take_wire(|phase| phase == Phase::Exchanging(exchange)) else { return };
        let end = if sent_any { no_answer() } else { End::NotSent };
        self.ended(turn, wire, end);
    }

    pub(crate) fn wire_timed_out(&mut self, turn: &mut Turn, wire: Wire) {
        match wire.phase {
            Phase::Exchanging(exchange) => {
                turn.emit(Effect::Abandon { exchange });
                self.ended(turn, wire, no_answer());
            }
            Phase::Checking => {
                self.ped_in_step = false;
                self.ended(turn, wire, no_answer());
            }
            Phase::Completing => {
                self.ped_in_step = false;
                let why = "no answer".to_owned();
                self.ended(turn, wire, End::Refused { why, sign_in_needed: false });
            }
        }
    }

    pub(crate) fn response_checked(
        &mut self,
        turn: &mut Turn,
        result: Result<Box<ResponseSummary>, ResponseFault>,
        trace: Vec<TraceLine>,
    ) {
        let Some(mut wire) = self.take_wire(|phase| phase == Phase::Checking) else { return };
        wire.trace.extend(trace);
        let end = match result {
            Ok(summary) => End::Answered(summary),
            Err(ResponseFault::MacWrong | ResponseFault::MacMissing) => End::MacWrong,
            Err(fault) => End::NoAnswer(fault_text(&fault)),
        };
        self.note_orders(turn, wire.message, &end);
        self.ended(turn, wire, end);
    }

    /// What every answer may carry beside its own matter: an order in the header, a code that wants a new sign-in.
    fn note_orders(&mut self, turn: &mut Turn, message: Message, end: &End) {
        match end {
            End::Answered(summary) => {
                let order = summary.order;
                if orders::KNOWN.contains(&order) && self.state.orders & (1 << order) == 0 {
                    self.note(turn, Record::OrderPending { order });
                }
                let wants = summary.response_code.is_some_and(response::wants_sign_in);
                if wants && message != Message::SignIn {
                    self.sign_out(turn, SignOutReason::HostOrder);
                }
            }
            End::MacWrong => self.sign_out(turn, SignOutReason::MacWrong),
            _ => {}
        }
    }

    fn ended(&mut self, turn: &mut Turn, wire: Wire, end: End) {
        match wire.message {
            Message::SignIn => self.sign_in_ended(turn, end),
            Message::SignOff => self.sign_off_ended(turn, end),
            Message::Echo => self.echo_ended(turn, end),
            Message::Download(step) => self.download_ended(turn, step, end),
            Message::StatusUpload => self.status_ended(turn, end),
            Message::Payment => self.payment_ended(turn, end, wire.trace),
            Message::QrQuery => self.query_ended(turn, end, wire.trace),
            Message::Reversal => self.reversal_ended(turn, end, wire.trace),
            Message::ScriptNotice => self.script_notice_ended(turn, end),
            Message::Notice(stan) => self.notice_ended(turn, stan, end, wire.trace),
            Message::Signature(stan) => self.signature_ended(turn, stan, end),
            Message::Settlement => self.settlement_ended(turn, end),
            Message::Upload(item) => self.upload_ended(turn, item, end),
            Message::BatchEnd => self.batch_end_ended(turn, end),
        }
    }

    /// Counts a send without success; whether another one is due on this occasion.
    pub(crate) fn may_send_again(&mut self) -> bool {
        let sends = self.config.sends();
        let Some(job) = &mut self.job else { return false };
        job.sends = job.sends.saturating_add(1);
        job.sends < sends
    }

    /// Fails the job because something pending could not be brought to the host.
    pub(crate) fn fail_flush(&mut self, turn: &mut Turn, message: Text) {
        if let Some(job) = &mut self.job {
            job.flush_failed = true;
        }
        self.fail(turn, message);
    }
}

fn no_answer() -> End {
    End::NoAnswer(Text::new("主机无应答", "No answer from the host"))
}

fn fault_text(fault: &ResponseFault) -> Text {
    match fault {
        ResponseFault::Malformed { detail } => {
            Text::new(format!("应答报文无法解析: {detail}"), format!("The host's answer is malformed: {detail}"))
        }
        ResponseFault::Mismatch { field } => Text::new(
            format!("应答与请求不符: {field}"),
            format!("The host's answer does not belong to the request: {field}"),
        ),
        ResponseFault::MacWrong | ResponseFault::MacMissing => End::MacWrong.text(),
    }
}
