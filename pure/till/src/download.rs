//! F62 of parameter downloads (unionpay-pos §5.1, §5.2): status byte, pages of names, bodies.

use crate::config::limits::DOWNLOAD_ENTRIES_MAX;
use crate::message::ParameterSet;

const TAG_NAME: [u8; 2] = [0x9F, 0x06];
const TAG_INDEX: [u8; 2] = [0x9F, 0x22];

/// One page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Whether another page follows.
    pub more: bool,
    /// F62 of the download request of each entry: its name, and for a key its index.
    pub names: Vec<Vec<u8>>,
}

/// F62 that asks for the page behind `listed` entries.
pub(crate) fn page_request(listed: usize) -> Vec<u8> {
    format!("1{:02}", listed.min(DOWNLOAD_ENTRIES_MAX)).into_bytes()
}

/// Reads F62 of a status answer.
pub(crate) fn page(set: ParameterSet, field: &[u8]) -> Result<Page, &'static str> {
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
    if set == ParameterSet::Capks && !names.iter().all(|name| has_index(name)) {
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
pub(crate) fn body(field: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
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
        let page = page(ParameterSet::Capks, &field).unwrap();
        assert!(page.more);
        assert_eq!(page.names, vec![key(4)[..12].to_vec(), key(9)[..12].to_vec()]);
        assert_eq!(page_request(12), b"112");
    }

    #[test]
    fn an_application_list_has_names_only() {
        let field = b"1\x9F\x06\x08\xA0\x00\x00\x03\x33\x01\x01\x01".to_vec();
        let page = page(ParameterSet::Aids, &field).unwrap();
        assert_eq!((page.more, page.names), (false, vec![field[1..].to_vec()]));
        assert_eq!(super::page(ParameterSet::Capks, &field), Err("a key without an index"));
    }

    #[test]
    fn nothing_to_download_is_not_an_error_but_a_cut_list_is() {
        assert_eq!(page(ParameterSet::Capks, b"0"), Ok(Page { more: false, names: vec![] }));
        let field = [vec![b'1'], key(4)].concat();
        let complete = |length: usize| [1, 13, 24].contains(&length);
        for length in 0..field.len() {
            assert_eq!(page(ParameterSet::Capks, &field[..length]).is_ok(), complete(length), "{length}");
        }
        assert_eq!(page(ParameterSet::Aids, b"2"), Err("an empty page that is not the last"));
        assert_eq!(body(b"0"), Ok(None));
        assert!(body(b"").is_err() && body(b"1").is_err());
    }
}
