//! What `openssl speed` reaches on the same core, where the program is installed.

use serde_json::{Map, Value, json};
use std::process::Command;

/// Name in the JSON, and what `openssl speed` is asked for.
const MEASUREMENTS: [(&str, &[&str]); 6] = [
    ("des_ede3_cbc_1024_bytes_per_s", &["-bytes", "1024", "des-ede3"]),
    ("des_ede3_cbc_8_bytes_per_s", &["-bytes", "8", "des-ede3"]),
    ("aes_128_ecb_16_bytes_per_s", &["-bytes", "16", "-evp", "aes-128-ecb"]),
    ("aes_128_ecb_1024_bytes_per_s", &["-bytes", "1024", "-evp", "aes-128-ecb"]),
    ("sm4_ecb_16_bytes_per_s", &["-bytes", "16", "-evp", "sm4-ecb"]),
    ("sm4_ecb_1024_bytes_per_s", &["-bytes", "1024", "-evp", "sm4-ecb"]),
];

/// Figures of another program, or why there are none.
#[derive(Debug, Clone)]
pub enum OpenSsl {
    /// Its version, and bytes a second by name; none where it does not know the cipher.
    Measured { version: String, figures: Vec<(&'static str, Option<f64>)> },
    /// It could not be run.
    Absent(String),
}

impl OpenSsl {
    pub fn to_json(&self) -> (Value, Value) {
        match self {
            Self::Measured { version, figures } => {
                let mut object = Map::new();
                object.insert("version".to_owned(), json!(version));
                object.extend(figures.iter().map(|(name, figure)| ((*name).to_owned(), json!(figure.map(f64::round)))));
                (object.into(), Value::Null)
            }
            Self::Absent(why) => (Value::Null, json!(why)),
        }
    }
}

pub fn measure() -> OpenSsl {
    let version = match Command::new("openssl").arg("version").output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Ok(output) => return OpenSsl::Absent(format!("openssl version: {}", output.status)),
        Err(cause) => return OpenSsl::Absent(format!("openssl: {cause}")),
    };
    OpenSsl::Measured { version, figures: MEASUREMENTS.map(|(name, arguments)| (name, speed(arguments))).to_vec() }
}

fn speed(arguments: &[&str]) -> Option<f64> {
    let output = Command::new("openssl").args(["speed", "-seconds", "1", "-mr"]).args(arguments).output().ok()?;
    last_figure(&String::from_utf8_lossy(&output.stdout))
}

/// Machine-readable results end with `+F:NUMBER:NAME:BYTES_PER_S`.
fn last_figure(text: &str) -> Option<f64> {
    let line = text.lines().rev().find(|line| line.starts_with("+F:"))?;
    let figure: f64 = line.rsplit(':').next()?.trim().parse().ok()?;
    (figure > 0.0).then_some(figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        assert_eq!(last_figure("+H:1024\n+F:11:des-ede3:21132016.33\n"), Some(21_132_016.33));
        assert_eq!(last_figure("+F:10:des-cbc:0.00\n"), None);
        assert_eq!(last_figure("no such cipher\n"), None);
    }
}
