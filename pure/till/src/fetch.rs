//! Downloads and the status upload (unionpay-pos §5): one machinery for sets that the PED keeps and sets that the till keeps.

use crate::download::{Download, DownloadStep, Next, set_text};
use crate::machine::{Activity, Goal, Till, Turn};
use crate::message;
use crate::record::Record;
use crate::state::orders;
use crate::text::Text;
use crate::wire::{End, Message};
use crate::words::Screen;
use iso8583::unionpay::DownloadSet;
use pedlink::PedCommand;
use types::ResponseCode;

impl Till {
    /// Begins a download from its first message. One that breaks off leaves the order pending and starts here again (§5.3).
    pub(crate) fn begin_download(&mut self, turn: &mut Turn, set: DownloadSet) {
        if let Some(job) = &mut self.job {
            job.download = Some(Download::new(set));
        }
        self.download_next(turn);
    }

    fn download(&self) -> Option<&Download> {
        self.job.as_ref().and_then(|job| job.download.as_ref())
    }

    fn download_mut(&mut self) -> Option<&mut Download> {
        self.job.as_mut().and_then(|job| job.download.as_mut())
    }

    fn download_next(&mut self, turn: &mut Turn) {
        let Some(download) = self.download() else { return };
        let (set, next) = (download.set, download.next());
        match next {
            Next::Ask(step, body) => self.ask(turn, set, step, body),
            Next::Install(entries) if entries.is_empty() => self.nothing_to_install(turn, set),
            Next::Install(entries) => self.install(turn, set, entries),
            Next::Keep(content) => {
                // Durable and in force before the host hears of it: it may order again what is there, never the other way round.
                self.note(turn, Record::SetTaken { set, content });
                self.installed(turn, 1);
            }
        }
    }

    fn ask(&mut self, turn: &mut Turn, set: DownloadSet, step: DownloadStep, body: Option<Vec<u8>>) {
        if step == DownloadStep::Entry {
            let (done, total) = self.download().map(Download::progress).unwrap_or_default();
            turn.show(Screen::Downloading { set, done, total });
        }
        let request = message::download(&self.config, &self.state, set, step, body);
        self.send(turn, Message::Download(step), request);
    }

    pub(crate) fn download_ended(&mut self, turn: &mut Turn, step: DownloadStep, end: End) {
        let field = match end {
            End::Answered(summary) if summary.response_code == Some(ResponseCode::APPROVED) => {
                summary.private_62.unwrap_or_default()
            }
            End::NoAnswer(_) if self.may_send_again() => return self.download_next(turn),
            end => return self.download_failed(turn, &end.text()),
        };
        if let Some(job) = &mut self.job {
            job.sends = 0;
        }
        if step == DownloadStep::End {
            return self.download_finished(turn);
        }
        match self.download_mut().map_or(Ok(()), |download| download.take(step, &field)) {
            Ok(()) => self.download_next(turn),
            Err(why) => self.download_failed(turn, &Text::new(why.clone(), why)),
        }
    }

    fn install(&mut self, turn: &mut Turn, set: DownloadSet, entries: Vec<Vec<u8>>) {
        turn.ped(match set {
            DownloadSet::Capks => PedCommand::InstallCapks { entries, at: self.local_time(turn.now) },
            _ => PedCommand::InstallAids { entries },
        });
        self.wait_for(turn, Activity::Installing, self.config.timeouts.ped_ms);
    }

    /// An empty list never replaces a set that is there; a till without one cannot go on.
    fn nothing_to_install(&mut self, turn: &mut Turn, set: DownloadSet) {
        let loaded = match set {
            DownloadSet::Capks => self.state.capks_loaded,
            _ => self.state.aids_loaded,
        };
        if loaded {
            return self.installed(turn, 0);
        }
        self.download_failed(turn, &Text::new("主机没有可下载的参数", "the host offers none"));
    }

    pub(crate) fn parameters_installed(&mut self, turn: &mut Turn, taken: u16, skipped: &[String]) {
        if !matches!(self.activity, Activity::Installing) {
            return;
        }
        self.idle();
        if taken == 0 {
            let why = skipped.first().map_or("the host offers none", String::as_str);
            let text = Text::new(format!("没有可用的参数: {why}"), format!("no usable entry: {why}"));
            return self.download_failed(turn, &text);
        }
        self.installed(turn, taken);
    }

    /// The new set is where it belongs: only now the host hears that the download is over.
    fn installed(&mut self, turn: &mut Turn, count: u16) {
        if let Some(download) = self.download_mut() {
            download.installed = Some(count);
        }
        self.download_next(turn);
    }

    fn download_finished(&mut self, turn: &mut Turn) {
        let Some(job) = &mut self.job else { return };
        let Some(Download { set, installed, .. }) = job.download.take() else { return };
        let count = installed.unwrap_or(0);
        let record = match set {
            DownloadSet::Capks => Record::CapksLoaded { count },
            DownloadSet::Aids => Record::AidsLoaded { count },
            set => Record::SetAcknowledged { set },
        };
        job.obeyed |= 1 << orders::of(set);
        job.reached |= matches!(job.goal, Goal::Download(wanted) if wanted == set);
        self.note(turn, record);
        self.step_done(turn);
    }

    fn download_failed(&mut self, turn: &mut Turn, why: &Text) {
        let name = self.download().map(|download| set_text(download.set)).unwrap_or_default();
        let zh = format!("{}下载失败: {}", name.zh, why.zh);
        let en = format!("Download of {} failed: {}", name.en, why.en);
        self.fail_flush(turn, Text::new(zh, en));
    }

    pub(crate) fn send_status(&mut self, turn: &mut Turn) {
        let request = message::status_upload(&self.config, &self.state);
        self.send(turn, Message::StatusUpload, request);
    }

    pub(crate) fn status_ended(&mut self, turn: &mut Turn, end: End) {
        match end {
            End::Answered(summary) if summary.response_code == Some(ResponseCode::APPROVED) => {
                self.note(turn, Record::StatusReported {});
                let Some(job) = &mut self.job else { return };
                job.obeyed |= 1 << orders::STATUS;
                job.reached |= matches!(job.goal, Goal::ReportStatus);
                self.step_done(turn);
            }
            End::NoAnswer(_) if self.may_send_again() => self.advance(turn),
            end => {
                let why = end.text();
                let text = Text::new(format!("状态上送失败: {}", why.zh), format!("Status upload failed: {}", why.en));
                self.fail_flush(turn, text);
            }
        }
    }
}
