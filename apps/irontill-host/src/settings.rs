//! The host's settings file: `key = value` lines, `#` comments, paths relative to the file's folder.

use keys::MacAlgorithm;
use link::Limits;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use types::InstitutionId;

/// Lines to the key service if the file says nothing.
const KEY_LINES_DEFAULT: usize = 2;
/// Most lines to the key service.
const KEY_LINES_MAX: usize = 64;

/// Everything a host must be told.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// Address to listen on, `host:port`; port 0 takes a free one.
    pub listen: String,
    /// The store's file.
    pub store: PathBuf,
    /// Socket of the key service for the host.
    pub key_socket: PathBuf,
    /// Socket of the key service for administration.
    pub admin_key_socket: PathBuf,
    /// Batches that the key service works on at the same time.
    pub key_lines: usize,
    /// The host's certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, readable by its owner only.
    pub private_key: PathBuf,
    /// The authority's certificate, PEM.
    pub authority_certificate: PathBuf,
    /// The authority's private key, PEM; only enrolment reads it.
    pub authority_key: PathBuf,
    /// What terminals download, if anything.
    pub parameters: Option<PathBuf>,
    /// Serial numbers of revoked certificates, if any.
    pub revoked: Option<PathBuf>,
    /// What single merchants may do, if they differ.
    pub merchants: Option<PathBuf>,
    /// Risk rules. They are asked for merchants whose policy says so.
    pub rules: Option<PathBuf>,
    /// The acquirer (F32, F44).
    pub acquirer: InstitutionId,
    /// The built-in issuer (F44).
    pub issuer: InstitutionId,
    /// MAC of field 64.
    pub mac_algorithm: MacAlgorithm,
    /// How long messages under working keys that a sign-in has replaced are still taken, in milliseconds; 0 for not at all.
    pub key_overlap_ms: u64,
    /// Limits of the link.
    pub limits: Limits,
}

/// What is wrong with a settings file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A line is not `key = value`.
    #[error("line {line}: expected key = value")]
    Line {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A key that no host knows.
    #[error("line {line}: unknown key {key}")]
    Unknown {
        /// Number of the line, from 1.
        line: usize,
        /// The key.
        key: String,
    },
    /// A value that its key does not allow.
    #[error("line {line}: {key} cannot be {value}")]
    Value {
        /// Number of the line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

impl HostSettings {
    /// The usual settings with every file in one folder.
    pub fn in_folder(folder: &Path) -> Self {
        let institution = |digits| InstitutionId::parse(digits).expect("digits, short enough");
        Self {
            listen: "127.0.0.1:8583".to_owned(),
            store: folder.join("host.db"),
            key_socket: folder.join("keys.sock"),
            admin_key_socket: folder.join("keys.sock.admin"),
            key_lines: KEY_LINES_DEFAULT,
            certificate: folder.join("host.pem"),
            private_key: folder.join("host.key.pem"),
            authority_certificate: folder.join("authority.pem"),
            authority_key: folder.join("authority.key.pem"),
            parameters: None,
            revoked: None,
            merchants: None,
            rules: None,
            acquirer: institution("48020000"),
            issuer: institution("03080000"),
            mac_algorithm: MacAlgorithm::UnionPayEcb,
            key_overlap_ms: acquirer::KEY_OVERLAP_MS_DEFAULT,
            limits: Limits::default(),
        }
    }

    /// Reads the text of a settings file that lies in `folder`. Keys that it leaves out keep their usual values.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, SettingsError> {
        let mut settings = Self::in_folder(folder);
        for (number, line) in text.lines().enumerate() {
            let (line, number) = (line.trim(), number + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').ok_or(SettingsError::Line { line: number })?;
            settings.set(folder, key.trim(), value.trim(), number)?;
        }
        Ok(settings)
    }

    fn set(&mut self, folder: &Path, key: &str, value: &str, line: usize) -> Result<(), SettingsError> {
        let path = || folder.join(value);
        let bad = || SettingsError::Value { line, key: key.to_owned(), value: value.to_owned() };
        let number = || value.parse::<u64>().ok().filter(|number| *number > 0).ok_or_else(bad);
        let institution = || InstitutionId::parse(value).map_err(|_| bad());
        match key {
            "listen" => self.listen = value.to_owned(),
            "store" => self.store = path(),
            "key-socket" => self.key_socket = path(),
            "admin-key-socket" => self.admin_key_socket = path(),
            "certificate" => self.certificate = path(),
            "private-key" => self.private_key = path(),
            "authority-certificate" => self.authority_certificate = path(),
            "authority-key" => self.authority_key = path(),
            "parameters" => self.parameters = Some(path()),
            "revoked" => self.revoked = Some(path()),
            "merchants" => self.merchants = Some(path()),
            "rules" => self.rules = Some(path()),
            "acquirer" => self.acquirer = institution()?,
            "issuer" => self.issuer = institution()?,
            "mac-algorithm" => self.mac_algorithm = parse_mac_algorithm(value).ok_or_else(bad)?,
            "key-lines" => self.key_lines = small(number()?).filter(|lines| *lines <= KEY_LINES_MAX).ok_or_else(bad)?,
            "key-overlap-ms" => self.key_overlap_ms = value.parse().map_err(|_| bad())?,
            "connections-max" => self.limits.connections_max = small(number()?).ok_or_else(bad)?,
            "connections-per-terminal-max" => {
                self.limits.connections_per_terminal_max = u32::try_from(number()?).map_err(|_| bad())?;
            }
            "handshake-timeout-ms" => self.limits.handshake_timeout_ms = number()?,
            "idle-timeout-ms" => self.limits.idle_timeout_ms = number()?,
            "frame-timeout-ms" => self.limits.frame_timeout_ms = number()?,
            "answer-timeout-ms" => self.limits.answer_timeout_ms = number()?,
            "write-timeout-ms" => self.limits.write_timeout_ms = number()?,
            _ => return Err(SettingsError::Unknown { line, key: key.to_owned() }),
        }
        Ok(())
    }

    /// The text of a settings file with these settings.
    pub fn to_text(&self) -> String {
        let mut text = String::from("# Irontill host. Paths are relative to this file.\n");
        let mut line = |key: &str, value: &str| {
            writeln!(text, "{key} = {value}").expect("writing to a string does not fail");
        };
        let path = |path: &Path| path.display().to_string();
        line("listen", &self.listen);
        line("store", &path(&self.store));
        line("key-socket", &path(&self.key_socket));
        line("admin-key-socket", &path(&self.admin_key_socket));
        line("key-lines", &self.key_lines.to_string());
        line("certificate", &path(&self.certificate));
        line("private-key", &path(&self.private_key));
        line("authority-certificate", &path(&self.authority_certificate));
        line("authority-key", &path(&self.authority_key));
        self.parameters.iter().for_each(|parameters| line("parameters", &path(parameters)));
        self.revoked.iter().for_each(|revoked| line("revoked", &path(revoked)));
        self.merchants.iter().for_each(|merchants| line("merchants", &path(merchants)));
        self.rules.iter().for_each(|rules| line("rules", &path(rules)));
        line("acquirer", self.acquirer.text());
        line("issuer", self.issuer.text());
        line("mac-algorithm", mac_algorithm_name(self.mac_algorithm));
        line("key-overlap-ms", &self.key_overlap_ms.to_string());
        let limits = &self.limits;
        line("connections-max", &limits.connections_max.to_string());
        line("connections-per-terminal-max", &limits.connections_per_terminal_max.to_string());
        line("handshake-timeout-ms", &limits.handshake_timeout_ms.to_string());
        line("idle-timeout-ms", &limits.idle_timeout_ms.to_string());
        line("frame-timeout-ms", &limits.frame_timeout_ms.to_string());
        line("answer-timeout-ms", &limits.answer_timeout_ms.to_string());
        line("write-timeout-ms", &limits.write_timeout_ms.to_string());
        text
    }
}

fn small(number: u64) -> Option<usize> {
    usize::try_from(number).ok().filter(|number| *number <= u32::MAX as usize)
}

const MAC_ALGORITHMS: [(&str, MacAlgorithm); 3] =
    [("unionpay-ecb", MacAlgorithm::UnionPayEcb), ("x9.9", MacAlgorithm::X99), ("x9.19", MacAlgorithm::X919)];

fn parse_mac_algorithm(name: &str) -> Option<MacAlgorithm> {
    MAC_ALGORITHMS.into_iter().find(|(known, _)| *known == name).map(|(_, algorithm)| algorithm)
}

fn mac_algorithm_name(algorithm: MacAlgorithm) -> &'static str {
    let named = MAC_ALGORITHMS.into_iter().find(|(_, known)| *known == algorithm);
    named.map_or("unionpay-ecb", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_from_their_text() {
        let folder = Path::new("/var/lib/irontill");
        let mut settings = HostSettings::in_folder(folder);
        settings.listen = "0.0.0.0:9000".to_owned();
        settings.parameters = Some(folder.join("parameters.txt"));
        settings.revoked = Some(folder.join("revoked.txt"));
        settings.merchants = Some(folder.join("merchants.txt"));
        settings.rules = Some(folder.join("risk.rules"));
        settings.mac_algorithm = MacAlgorithm::X919;
        settings.limits.idle_timeout_ms = 5;
        settings.key_overlap_ms = 0;
        let text = settings.to_text();
        assert_eq!(HostSettings::parse(&text, folder).unwrap().to_text(), text);
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let settings = HostSettings::parse("# a comment\n\nstore = data/x.db\n", Path::new("/etc/irontill")).unwrap();
        assert_eq!(settings.store, Path::new("/etc/irontill/data/x.db"));
        assert_eq!(settings.key_socket, Path::new("/etc/irontill/keys.sock"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text| HostSettings::parse(text, Path::new("/")).unwrap_err().to_string();
        assert_eq!(error("listen"), "line 1: expected key = value");
        assert_eq!(error("\nlisten-to = x"), "line 2: unknown key listen-to");
        assert_eq!(error("key-lines = 0"), "line 1: key-lines cannot be 0");
        assert_eq!(error("acquirer = 12a"), "line 1: acquirer cannot be 12a");
        assert_eq!(error("mac-algorithm = none"), "line 1: mac-algorithm cannot be none");
    }
}
