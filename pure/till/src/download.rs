//! A parameter download in progress, and F62 of its messages (unionpay-pos §5): which message comes next, and what an answer
//! adds.

use crate::config::limits::DOWNLOAD_ENTRIES_MAX;
use crate::text::Text;
use iso8583::unionpay::{
    BIN_LIST_ENTRIES_MAX, DownloadSet, DownloadShape, TerminalParameters, bin_list_request, format_bins,
    parse_bin_page, parse_contactless,
};

const TAG_NAME: [u8; 2] = [0x9F, 0x06];
const TAG_INDEX: [u8; 2] = [0x9F, 0x22];

/// Which message of a download.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DownloadStep {
    /// Asks for a page of the names (372, 382).
    Status,
    /// Asks for an entry, for the whole set or for a page of it.
    Entry,
    /// Says that the set is there.
    End,
}

/// What a download does next.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Sends this message with this F62.
    Ask(DownloadStep, Option<Vec<u8>>),
    /// Hands the entries to the PED.
    Install(Vec<Vec<u8>>),
    /// Writes this content down.
    Keep(Vec<u8>),
}

/// A parameter download in progress. One that breaks off is forgotten and begins anew (§5.3).
#[derive(Debug)]
pub(crate) struct Download {
    pub set: DownloadSet,
    /// Of a set with names: F62 of each entry's request.
    pub names: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    /// Entries asked for so far.
    pub asked: usize,
    /// Whether every page of the list is in.
    listed: bool,
    /// Of a list in pages.
    bins: Vec<String>,
    /// Of a set that travels whole.
    content: Option<Vec<u8>>,
    /// Entries that are where they belong, once they are.
    pub installed: Option<u16>,
}

impl Download {
    pub fn new(set: DownloadSet) -> Self {
        Self {
            set,
            names: Vec::new(),
            bodies: Vec::new(),
            asked: 0,
            listed: false,
            bins: Vec::new(),
            content: None,
            installed: None,
        }
    }

    /// What comes next; the same again as long as nothing is added.
    pub fn next(&self) -> Next {
        if self.installed.is_some() {
            return Next::Ask(DownloadStep::End, None);
        }
        match self.set.shape() {
            DownloadShape::Listed if !self.listed => {
                Next::Ask(DownloadStep::Status, Some(page_request(self.names.len())))
            }
            DownloadShape::Listed => match self.names.get(self.asked) {
                Some(name) => Next::Ask(DownloadStep::Entry, Some(name.clone())),
                None => Next::Install(self.bodies.clone()),
            },
            DownloadShape::Whole => match &self.content {
                Some(content) => Next::Keep(content.clone()),
                None => Next::Ask(DownloadStep::Entry, None),
            },
            DownloadShape::Paged if self.listed => Next::Keep(format_bins(&self.bins)),
            DownloadShape::Paged => Next::Ask(DownloadStep::Entry, Some(bin_list_request(self.bins.len()))),
        }
    }

    /// Takes F62 of an answer in.
    pub fn take(&mut self, step: DownloadStep, field: &[u8]) -> Result<(), String> {
        match (step, self.set.shape()) {
            (DownloadStep::End, _) => Ok(()),
            (DownloadStep::Status, _) => self.take_page(page(self.set, field)?),
            (DownloadStep::Entry, DownloadShape::Listed) => {
                self.bodies.extend(body(field)?);
                self.asked += 1;
                Ok(())
            }
            (DownloadStep::Entry, DownloadShape::Whole) => self.take_whole(field),
            (DownloadStep::Entry, DownloadShape::Paged) => self.take_bins(field),
        }
    }

    fn take_page(&mut self, page: Page) -> Result<(), String> {
        let room = DOWNLOAD_ENTRIES_MAX.saturating_sub(self.names.len());
        self.names.extend(page.names.into_iter().take(room));
        self.listed = !page.more || self.names.len() >= DOWNLOAD_ENTRIES_MAX;
        Ok(())
    }

    /// What cannot be read is refused here: nothing half understood becomes durable.
    fn take_whole(&mut self, field: &[u8]) -> Result<(), String> {
        match self.set {
            _ if field.is_empty() => return Err("the host offers none".to_owned()),
            DownloadSet::Terminal => TerminalParameters::parse(field).map(drop).map_err(|error| error.to_string())?,
            DownloadSet::Contactless => parse_contactless(field).map(drop).map_err(|error| error.to_string())?,
            _ => {}
        }
        self.content = Some(field.to_vec());
        Ok(())
    }

    fn take_bins(&mut self, field: &[u8]) -> Result<(), String> {
        let page = parse_bin_page(field).map_err(|error| error.to_string())?;
        self.bins.extend(page.bins);
        if self.bins.len() > BIN_LIST_ENTRIES_MAX {
            return Err(format!("more than {BIN_LIST_ENTRIES_MAX} entries"));
        }
        self.listed = !page.more;
        Ok(())
    }

    /// Entries so far and in all; (0, 0) where the host does not say.
    pub fn progress(&self) -> (u16, u16) {
        let small = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        (small(self.asked), small(self.names.len()))
    }
}

/// The set in words.
pub(crate) fn set_text(set: DownloadSet) -> Text {
    let (zh, en) = match set {
        DownloadSet::Capks => ("公钥", "CA public keys"),
        DownloadSet::Aids => ("IC卡参数", "card parameters"),
        DownloadSet::Terminal => ("终端参数", "terminal parameters"),
        DownloadSet::Tms => ("TMS参数", "TMS parameters"),
        DownloadSet::CardBlacklist => ("卡BIN黑名单", "card blacklist"),
        DownloadSet::Rates => ("汇率", "currency rates"),
        DownloadSet::Contactless => ("非接参数", "contactless parameters"),
        DownloadSet::PinFreeBins => ("免密BIN表", "PIN-free BIN table"),
        DownloadSet::PinFreeBlacklist => ("免密BIN黑名单", "PIN-free BIN blacklist"),
    };
    Text::new(zh, en)
}

/// One page of a list.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    /// Whether another page follows.
    more: bool,
    /// F62 of the download request of each entry: its name, and for a key its index.
    names: Vec<Vec<u8>>,
}

/// F62 that asks for the page behind `listed` entries.
fn page_request(listed: usize) -> Vec<u8> {
    format!("1{:02}", listed.min(DOWNLOAD_ENTRIES_MAX)).into_bytes()
}

/// Reads F62 of a status answer.
fn page(set: DownloadSet, field: &[u8]) -> Result<Page, &'static str> {
    let more = match field.first() {
        Some(b'0') => return Ok(Page { more: false, names: Vec::new() }),
        Some(b'1') => false,
        Some(b'2') => true,
        _ => return Err("F62 has no status byte"),
    };
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut rest = &field[1..];
    while let Some((element, behind)) = element(rest)? {
        match element[..2] {
            [0x9F, 0x06] => names.push(element.to_vec()),
            [0x9F, 0x22] => names.last_mut().ok_or("an index without a name")?.extend_from_slice(element),
            _ => {}
        }
        rest = behind;
    }
    if set == DownloadSet::Capks && !names.iter().all(|name| has_index(name)) {
        return Err("a key without an index");
    }
    if more && names.is_empty() {
        return Err("an empty page that is not the last");
    }
    Ok(Page { more, names })
}

fn has_index(name: &[u8]) -> bool {
    let length = usize::from(name.get(2).copied().unwrap_or(0));
    name.starts_with(&TAG_NAME) && name.get(3 + length..5 + length) == Some(&TAG_INDEX)
}

/// One element, and what is behind it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The next element with a two-byte tag and a one-byte length, and what is behind it.
fn element(bytes: &[u8]) -> Result<Option<Split<'_>>, &'static str> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let length = usize::from(*bytes.get(2).ok_or("a cut tag")?);
    let end = 3 + length;
    if length > 127 || bytes.len() < end {
        return Err("a cut value");
    }
    Ok(Some(bytes.split_at(end)))
}

/// The body behind the status byte of a download answer; `None` if the host does not have the entry.
fn body(field: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    match field.split_first() {
        Some((b'1', body)) if !body.is_empty() => Ok(Some(body.to_vec())),
        Some((b'0', _)) => Ok(None),
        _ => Err("F62 has no status byte or no body"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u8) -> Vec<u8> {
        let mut entry = vec![0x9F, 0x06, 5, 0xA0, 0, 0, 3, 0x33, 0x9F, 0x22, 1, index];
        entry.extend_from_slice(b"\xDF\x05\x0820301231");
        entry
    }

    #[test]
    fn a_key_list_gives_the_download_requests() {
        let field = [vec![b'2'], key(4), key(9)].concat();
        let page = page(DownloadSet::Capks, &field).unwrap();
        assert!(page.more);
        assert_eq!(page.names, vec![key(4)[..12].to_vec(), key(9)[..12].to_vec()]);
        assert_eq!(page_request(12), b"112");
    }

    #[test]
    fn an_application_list_has_names_only() {
        let field = b"1\x9F\x06\x08\xA0\x00\x00\x03\x33\x01\x01\x01".to_vec();
        let page = page(DownloadSet::Aids, &field).unwrap();
        assert_eq!((page.more, page.names), (false, vec![field[1..].to_vec()]));
        assert_eq!(super::page(DownloadSet::Capks, &field), Err("a key without an index"));
    }

    #[test]
    fn nothing_to_download_is_not_an_error_but_a_cut_list_is() {
        assert_eq!(page(DownloadSet::Capks, b"0"), Ok(Page { more: false, names: vec![] }));
        let field = [vec![b'1'], key(4)].concat();
        let complete = |length: usize| [1, 13, 24].contains(&length);
        for length in 0..field.len() {
            assert_eq!(page(DownloadSet::Capks, &field[..length]).is_ok(), complete(length), "{length}");
        }
        assert_eq!(page(DownloadSet::Aids, b"2"), Err("an empty page that is not the last"));
        assert_eq!(body(b"0"), Ok(None));
        assert!(body(b"").is_err() && body(b"1").is_err());
    }

    fn ask(step: DownloadStep, field: Option<&[u8]>) -> Next {
        Next::Ask(step, field.map(<[u8]>::to_vec))
    }

    #[test]
    fn what_travels_whole_is_asked_for_kept_and_ended() {
        let mut download = Download::new(DownloadSet::Terminal);
        assert_eq!(download.next(), ask(DownloadStep::Entry, None));
        for wrong in [&b""[..], b"12", b"26000", b"26\0\0\0\0"] {
            assert!(download.take(DownloadStep::Entry, wrong).is_err());
        }
        assert_eq!(download.next(), ask(DownloadStep::Entry, None));
        download.take(DownloadStep::Entry, b"1260").unwrap();
        assert_eq!(download.next(), Next::Keep(b"1260".to_vec()));
        download.installed = Some(1);
        assert_eq!(download.next(), ask(DownloadStep::End, None));
    }

    #[test]
    fn a_list_in_pages_is_asked_for_by_its_start() {
        let mut download = Download::new(DownloadSet::PinFreeBins);
        assert_eq!(download.next(), ask(DownloadStep::Entry, Some(b"000")));
        download.take(DownloadStep::Entry, b"20010662262204622261").unwrap_err();
        download.take(DownloadStep::Entry, b"2002066226220462226").unwrap_err();
        download.take(DownloadStep::Entry, b"200206622622046222").unwrap();
        assert_eq!(download.next(), ask(DownloadStep::Entry, Some(b"002")));
        download.take(DownloadStep::Entry, b"1001066225").unwrap_err();
        download.take(DownloadStep::Entry, b"100106622500").unwrap();
        assert_eq!(download.next(), Next::Keep(b"0662262204622206622500".to_vec()));
    }

    #[test]
    fn a_list_without_end_is_refused() {
        let mut download = Download::new(DownloadSet::CardBlacklist);
        let page = [&b"2090"[..], &b"06622622".repeat(90)].concat();
        for _ in 0..11 {
            download.take(DownloadStep::Entry, &page).unwrap();
        }
        assert_eq!(download.take(DownloadStep::Entry, &page), Err("more than 999 entries".to_owned()));
    }
}
