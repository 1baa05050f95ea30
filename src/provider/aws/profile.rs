//! What the controller itself reads in the selected AWS profile, because the SDK ignores it: `ca_bundle` and `mfa_serial`.

use std::path::PathBuf;

use aws_config::profile::{self, ProfileSet};
use aws_types::os_shim_internal::{Env, Fs};

/// The variables that select a profile, the first one that is set. The AWS CLI also knows the second one.
const SELECTORS: [&str; 2] = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"];
const DEFAULT: &str = "default";
/// The maximum number of profiles that refer to each other by `source_profile`.
const MAX_SOURCES: usize = 10;

/// The settings of the selected profile that the SDK ignores.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extra {
    /// A PEM file of the certificate authorities to trust.
    pub ca_bundle: Option<PathBuf>,
    /// Whether a role of the profile requires a code that only a user can type.
    pub needs_code: bool,
}

/// Returns the name of the selected profile.
pub(super) fn selected() -> String {
    let set = SELECTORS
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.trim().is_empty());
    set.unwrap_or_else(|| DEFAULT.to_owned())
}

/// Reads the files of profiles. The SDK reports files that it cannot read.
pub(super) async fn read() -> Extra {
    let name = Some(selected().into());
    let set = profile::load(&Fs::real(), &Env::real(), &Default::default(), name).await;
    set.map(|set| extra(&set)).unwrap_or_default()
}

fn extra(set: &ProfileSet) -> Extra {
    let bundle = set.get("ca_bundle").map(str::trim);
    let mut needs_code = false;
    let mut name = set.selected_profile();
    for _ in 0..MAX_SOURCES {
        let Some(profile) = set.get_profile(name) else {
            break;
        };
        let role = profile.get("role_arn").is_some();
        needs_code |= role && profile.get("mfa_serial").is_some();
        match profile.get("source_profile") {
            Some(source) if role && source != name => name = source,
            _ => break,
        }
    }
    Extra {
        ca_bundle: bundle.filter(|it| !it.is_empty()).map(PathBuf::from),
        needs_code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(name: &str, text: &str) -> Extra {
        let (fs, env) = (
            Fs::from_slice(&[("config", text)]),
            Env::from_slice(&[("AWS_CONFIG_FILE", "config")]),
        );
        let name = Some(name.to_owned().into());
        let set = profile::load(&fs, &env, &Default::default(), name).await;
        extra(&set.expect("profiles"))
    }

    #[tokio::test]
    async fn a_code_is_needed_by_a_role_of_the_profile_or_of_its_sources() {
        let text = "[default]\nca_bundle = /ca.pem\n[profile base]\nmfa_serial = m\n[profile role]\nrole_arn = r\nmfa_serial = m\n\
                    source_profile = base\n[profile far]\nrole_arn = f\nsource_profile = role\n[profile plain]\nrole_arn = p\n\
                    source_profile = base\n[profile loop]\nrole_arn = l\nsource_profile = pool\n[profile pool]\nrole_arn = o\n\
                    source_profile = loop\n";
        for (name, needed) in [
            ("role", true),
            ("far", true),
            ("plain", false),
            ("base", false),
            ("loop", false),
            ("missing", false),
        ] {
            assert_eq!(of(name, text).await.needs_code, needed, "{name}");
        }
        let default = of("default", text).await;
        assert_eq!(default.ca_bundle.as_deref(), Some("/ca.pem".as_ref()));
        assert_eq!(of("base", text).await, Extra::default());
    }
}
