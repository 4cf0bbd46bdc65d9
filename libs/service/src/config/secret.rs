use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use clock::Clock;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a secret shows of itself.
pub(super) const REDACTED: &str = "[redacted]";
/// What an empty secret shows.
pub(super) const NOT_SET: &str = "[not set]";

/// Longest secret, in bytes.
const MAX_LEN: u64 = 65_536;

/// A secret setting. It shows itself as `[redacted]` everywhere (`Debug`, `Display`, serialisation).
///
/// Given as `key = "value"` or as `key_file = "/path"`, a file of at most 64 KiB whose trailing line ends are cut off.
/// An empty text means "not set". Clones share the value, so a rotated file (see [`rotate`]) reaches all of them.
#[derive(Clone)]
pub struct Secret {
    value: Arc<RwLock<SecretString>>,
    file: Option<Arc<Path>>,
}

impl Secret {
    /// A secret with this value.
    pub fn new(value: impl Into<SecretString>) -> Self {
        Self { value: Arc::new(RwLock::new(value.into())), file: None }
    }

    /// A secret in a file, as `key_file` names one: for settings whose keys are the operator's choice.
    ///
    /// # Errors
    /// When the file can't be read, is empty or larger than 64 KiB.
    pub fn from_file(file: &Path) -> io::Result<Self> {
        Ok(Self { file: Some(file.into()), ..Self::new(read(file)?) })
    }

    /// The value as it is now. Ask again for each use, so that rotation reaches it.
    pub fn current(&self) -> SecretString {
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is a value.
    pub fn is_set(&self) -> bool {
        !self.current().expose_secret().is_empty()
    }

    /// Reads the file again, if the secret has one; whether the value changed.
    ///
    /// # Errors
    /// When the file can't be read or is empty; the old value stays.
    pub fn refresh(&self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let fresh = read(file)?;
        if fresh.expose_secret() == self.current().expose_secret() {
            return Ok(false);
        }
        *self.value.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(true)
    }
}

/// Refreshes secrets every `every` for ever: how a secret's file is rotated without restart. Reading is a small blocking
/// call. A file that can't be read is logged, and the old value stays in use. `changed` is called after a look at which
/// a value is another one than at this call or at the look before, whoever refreshed it: for what was made from the
/// secrets and has to be made again.
pub fn rotate(
    secrets: Vec<(&'static str, Secret)>,
    every: Duration,
    clock: Clock,
    changed: impl Fn(),
) -> impl Future<Output = ()> {
    // Clones share their value, so what `refresh` found may be another loop's news only.
    let mut watched: Vec<_> = secrets.into_iter().map(|(key, secret)| (key, secret.current(), secret)).collect();
    async move {
        loop {
            clock.sleep(every).await;
            let mut any = false;
            for (key, seen, secret) in &mut watched {
                if let Err(error) = secret.refresh() {
                    tracing::warn!(key, %error, "secret not refreshed; the old value stays in use");
                }
                let current = secret.current();
                if current.expose_secret() != seen.expose_secret() {
                    any = true;
                    *seen = current;
                    tracing::info!(key, "secret rotated");
                }
            }
            if any {
                changed();
            }
        }
    }
}

/// Reads a secret's file.
pub(super) fn read(file: &Path) -> io::Result<SecretString> {
    let invalid = |message: &str| io::Error::new(io::ErrorKind::InvalidData, message.to_owned());
    if std::fs::metadata(file)?.len() > MAX_LEN {
        return Err(invalid("is larger than 64 KiB"));
    }
    let text = std::fs::read_to_string(file)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(invalid("is empty"));
    }
    Ok(text.into())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { REDACTED } else { NOT_SET })
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Value(SecretString),
            // What the loader makes of `key_file`, so that the path is known for rotation.
            File { value: SecretString, file: PathBuf },
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Value(value) => Self::new(value),
            Form::File { value, file } => Self { file: Some(file.into()), ..Self::new(value) },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn in_file(path: &Path) -> Secret {
        Secret { file: Some(path.into()), ..Secret::new("old") }
    }

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::new("hunter2");
        let shown = format!("{secret:?} {secret} {}", serde_json::to_string(&secret).expect("text"));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(format!("{}", Secret::new("")), NOT_SET);
    }

    #[test]
    fn a_rotated_file_reaches_every_clone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let secret = in_file(&path);
        let clone = secret.clone();
        assert!(secret.refresh().is_err(), "no file yet");
        assert_eq!(clone.current().expose_secret(), "old");
        std::fs::write(&path, "new\r\n").expect("written");
        assert!(secret.refresh().expect("read"));
        assert_eq!(clone.current().expose_secret(), "new");
        assert!(!secret.refresh().expect("read"), "nothing changed");
        std::fs::write(&path, "\n").expect("written");
        assert!(secret.refresh().is_err());
        assert_eq!(clone.current().expose_secret(), "new");
    }

    #[tokio::test]
    async fn rotation_follows_the_clock() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "new").expect("written");
        let secret = in_file(&path);
        let (clock, hand) = Clock::manual(0);
        let told = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        // Two services that share a secret: only one of them can be the one that reads the new value first.
        let tasks = [0, 1].map(|service: usize| {
            let told = Arc::clone(&told);
            let changed = move || {
                told[service].fetch_add(1, Ordering::SeqCst);
            };
            let secrets = vec![("key", secret.clone())];
            tokio::spawn(rotate(secrets, Duration::from_secs(30), clock.clone(), changed))
        });
        tokio::task::yield_now().await;
        assert_eq!(secret.current().expose_secret(), "old");
        for _ in 0..2 {
            hand.advance(Duration::from_secs(30));
            tokio::task::yield_now().await;
            assert_eq!(secret.current().expose_secret(), "new");
        }
        let told = told.each_ref().map(|times| times.load(Ordering::SeqCst));
        assert_eq!(told, [1, 1], "each is told once: the second look found nothing new");
        for task in tasks {
            task.abort();
        }
    }
}
