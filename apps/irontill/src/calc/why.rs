//! Why two ends differ: tries what is known to differ between implementations, one change first, then two.

/// One other reading of the inputs.
pub struct Variation<S> {
    what: String,
    change: Box<dyn Fn(&mut S)>,
}

impl<S> Variation<S> {
    /// `what` completes "agrees with …".
    pub fn new(what: impl Into<String>, change: impl Fn(&mut S) + 'static) -> Self {
        Self { what: what.into(), change: Box::new(change) }
    }
}

/// Readings of which only one can hold, the likeliest first.
pub type Dimension<S> = Vec<Variation<S>>;

/// The first reading, of one change or else of two in different dimensions, that agrees.
pub fn search<S: Clone>(asked: &S, dimensions: &[Dimension<S>], agrees: impl Fn(&S) -> bool) -> Option<String> {
    let found = |what: String| Some(format!("agrees with {what}"));
    for one in dimensions.iter().flatten() {
        if agrees(&changed(asked, one)) {
            return found(one.what.clone());
        }
    }
    for (index, dimension) in dimensions.iter().enumerate() {
        for one in dimension {
            let first = changed(asked, one);
            let mut behind = dimensions[index + 1..].iter().flatten();
            if let Some(other) = behind.find(|other| agrees(&changed(&first, other))) {
                return found(format!("{}, and {}", one.what, other.what));
            }
        }
    }
    None
}

fn changed<S: Clone>(from: &S, variation: &Variation<S>) -> S {
    let mut setting = from.clone();
    (variation.change)(&mut setting);
    setting
}

/// A variation for each value of a list but the one that was asked for.
pub fn others<S: 'static, T: PartialEq + Copy + 'static>(
    all: &[T],
    asked: T,
    name: impl Fn(T) -> String,
    set: impl Fn(&mut S, T) + Copy + 'static,
) -> Dimension<S> {
    let other = all.iter().copied().filter(|value| *value != asked);
    other.map(|value| Variation::new(name(value), move |setting: &mut S| set(setting, value))).collect()
}

/// How a key is mixed up: halves swapped, only one of them, one of them twice, bytes reversed.
pub fn key_mistakes<S: 'static>(
    key_bytes: usize,
    key: impl Fn(&mut S) -> &mut Vec<u8> + Copy + 'static,
) -> Dimension<S> {
    let half = key_bytes / 2;
    if !matches!(key_bytes, 16 | 32) {
        return Vec::new();
    }
    vec![
        Variation::new("the halves of the key swapped", move |setting| key(setting).rotate_left(half)),
        Variation::new("only the first half of the key", move |setting| key(setting).truncate(half)),
        Variation::new("only the second half of the key", move |setting| {
            key(setting).drain(..half);
        }),
        Variation::new("the bytes of the key reversed", move |setting| key(setting).reverse()),
    ]
}

/// Most bytes that are cut off a message in the search.
const CUT_BYTES_MAX: usize = 48;

/// How the bytes under a MAC are mixed up: some too many at an end, padding already there, or hexadecimal text in the
/// place of bytes.
pub fn data_mistakes<S: 'static>(
    data_bytes: usize,
    data: impl Fn(&mut S) -> &mut Vec<u8> + Copy + 'static,
) -> Dimension<S> {
    let most = data_bytes.saturating_sub(1).min(CUT_BYTES_MAX);
    let tail = (1..=most).map(|cut| {
        let what = format!("the data without its last {cut} {}", bytes_word(cut));
        Variation::new(what, move |setting: &mut S| {
            let data = data(setting);
            data.truncate(data.len().saturating_sub(cut));
        })
    });
    let head = (1..=most).map(|cut| {
        let what = format!("the data without its first {cut} {}", bytes_word(cut));
        Variation::new(what, move |setting: &mut S| {
            let data = data(setting);
            data.drain(..cut.min(data.len()));
        })
    });
    let text = Variation::new("the hexadecimal text of the data in the place of its bytes", move |setting: &mut S| {
        let text = iso8583::describe::hex(data(setting));
        *data(setting) = text.into_bytes();
    });
    let marker = Variation::new("a byte 80 behind the data, before its padding", move |setting: &mut S| {
        data(setting).push(0x80);
    });
    tail.chain(head).chain([text, marker]).collect()
}

fn bytes_word(count: usize) -> &'static str {
    if count == 1 { "byte" } else { "bytes" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_is_preferred_to_two() {
        let dimensions = || {
            let add = |number: u32| Variation::new(format!("+{number}"), move |sum: &mut u32| *sum += number);
            [vec![add(1), add(2)], vec![add(3), add(10)]]
        };
        let why = |wanted: u32| search(&0, &dimensions(), |sum| *sum == wanted);
        assert_eq!(why(3).as_deref(), Some("agrees with +3"));
        assert_eq!(why(12).as_deref(), Some("agrees with +2, and +10"));
        assert_eq!(why(7), None);
    }
}
