//! Reads tokens from the files of `--credentials-dir`, and from the `tokenFile` of a kubeconfig.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use http::HeaderValue;

/// The maximum size of a token file in bytes. A service account's token has about 1 KiB.
const MAX_TOKEN: u64 = 64 << 10;

/// The token file does not hold a token.
#[derive(Debug, thiserror::Error)]
#[error("there is no usable token in {}: check --credentials-dir, or tokenFile in the kubeconfig", path.display())]
pub struct TokenError {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Reads the token as the value of a header.
pub(super) fn bearer(path: &Path) -> Result<HeaderValue, TokenError> {
    let unusable = |source| TokenError {
        path: path.to_owned(),
        source,
    };
    let mut token = String::new();
    // The file is small and in memory, so reading it on this thread is cheaper than handing it to another.
    let read =
        std::fs::File::open(path).and_then(|file| file.take(MAX_TOKEN).read_to_string(&mut token));
    read.map_err(|error| unusable(error.into()))?;
    if token.trim().is_empty() {
        return Err(unusable("it is empty".into()));
    }
    let header = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
    let mut header = header.map_err(|error| unusable(error.into()))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_again_and_never_shown() {
        let path = std::env::temp_dir().join(format!("token-{}", std::process::id()));
        let error = bearer(&path).expect_err("there is none").to_string();
        assert!(
            error.contains("--credentials-dir") && error.contains(path.to_str().expect("UTF-8")),
            "{error}"
        );
        for token in ["one", "two"] {
            std::fs::write(&path, format!("{token}\n")).expect("file");
            let header = bearer(&path).expect("a token");
            assert_eq!(
                header.to_str().ok(),
                Some(format!("Bearer {token}").as_str())
            );
            assert!(!format!("{header:?}").contains(token));
        }
        for bad in ["", "  \n", "a\nb"] {
            std::fs::write(&path, bad).expect("file");
            assert!(bearer(&path).is_err(), "{bad:?}");
        }
        std::fs::remove_file(&path).expect("file");
    }
}
