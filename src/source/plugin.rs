//! Exec plugins: programs that a kubeconfig names to get credentials for an API server.
//!
//! kube-client runs a plugin once. It keeps the certificate, and a token without an expiry, until the process ends. This module runs the
//! plugin again shortly before its credentials expire, and when the API server answers 401.

use std::io::IsTerminal as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::model::base::plain;

/// How long before their expiry credentials are renewed.
const EARLY: SignedDuration = SignedDuration::from_secs(60);
/// The timeout of one run. A plugin may wait for a remote server or for a user.
const PATIENCE: Duration = Duration::from_secs(60);
/// The minimum time between two runs if the last one failed or the API server refused its credentials.
const FLOOR: Duration = Duration::from_secs(5);
/// The maximum size of a plugin's output in bytes. Credentials have about 10 KB.
const MAX_OUTPUT: u64 = 1 << 20;
/// The maximum length of a plugin's output in an error, in bytes.
const MAX_SHOWN: usize = 300;

/// A plugin cannot be run, or returns no credentials.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the exec plugin {command:?} of the kubeconfig {what}")]
pub(super) struct PluginError {
    command: String,
    what: String,
}

/// The credentials that a plugin returned.
#[derive(Clone)]
pub(super) struct Credentials {
    /// The number of the run.
    pub number: u64,
    pub bearer: Option<HeaderValue>,
    /// A client certificate with its key.
    pub identity: Option<AuthInfo>,
    expiry: Option<Timestamp>,
}

/// A plugin with its last credentials. Clients share it, so that a user logs in once.
pub(super) struct Plugin {
    exec: ExecConfig,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    credentials: Option<Credentials>,
    runs: u64,
    /// The start of the last run, and its error if it failed.
    last: Option<(Instant, Option<PluginError>)>,
}

impl Held {
    /// Returns the credentials if they have not expired and the API server has not `refused` them.
    fn valid(&self, refused: Option<u64>) -> Option<Credentials> {
        let now = Timestamp::now();
        let held = self.credentials.as_ref();
        held.filter(|it| it.expiry.is_none_or(|expiry| expiry > now) && refused != Some(it.number))
            .cloned()
    }
}

impl Plugin {
    /// Removes the plugin from a user of a kubeconfig, because kube-client would run it only once. Returns None if the user has other
    /// credentials, which take precedence.
    pub fn of(user: &mut AuthInfo) -> Option<Arc<Self>> {
        let other = user.auth_provider.is_some()
            || user.token.is_some()
            || user.token_file.is_some()
            || user.username.is_some();
        let exec = user.exec.take().filter(|_| !other)?;
        Some(Arc::new(Self::new(exec)))
    }

    fn new(exec: ExecConfig) -> Self {
        Self {
            exec,
            held: Mutex::default(),
        }
    }

    /// Returns credentials that have not expired and that the API server has not `refused`. If the plugin ran a moment ago, returns its
    /// credentials even if they were refused.
    pub async fn credentials(
        self: &Arc<Self>,
        refused: Option<u64>,
    ) -> Result<Credentials, PluginError> {
        // A cancelled request does not cancel the run: a login may take longer than the request's timeout.
        let plugin = Arc::clone(self);
        let held = tokio::spawn(async move { plugin.current(refused).await });
        held.await
            .unwrap_or_else(|error| Err(self.error(format!("did not finish ({error})"))))
    }

    async fn current(&self, refused: Option<u64>) -> Result<Credentials, PluginError> {
        let mut held = self.held.lock().await;
        let soon = Timestamp::now() + EARLY;
        let fresh = |it: &Credentials| it.expiry.is_none_or(|expiry| expiry > soon);
        let recent = |at: &Instant| at.elapsed() < FLOOR;
        let just_run = held.last.as_ref().filter(|(at, _)| recent(at));
        if let Some((_, Some(error))) = just_run {
            return held.valid(refused).ok_or_else(|| error.clone());
        }
        if let Some(credentials) = held.credentials.as_ref().filter(|it| fresh(it))
            && (refused != Some(credentials.number) || just_run.is_some())
        {
            return Ok(credentials.clone());
        }
        let began = Instant::now();
        let number = held.runs + 1;
        let outcome = match timeout(PATIENCE, self.run()).await {
            Ok(outcome) => outcome.and_then(|text| self.read(&text, number)),
            Err(_) => Err(self.error(format!("has not ended within {PATIENCE:?}"))),
        };
        held.runs = number;
        held.last = Some((began, outcome.as_ref().err().cloned()));
        match outcome {
            Ok(renewed) => Ok(held.credentials.insert(renewed).clone()),
            // Renewals start before the expiry, so until then a failing plugin does no harm.
            Err(error) => held.valid(refused).ok_or(error),
        }
    }

    async fn run(&self) -> Result<Vec<u8>, PluginError> {
        let interactive = self.exec.interactive_mode != Some(ExecInteractiveMode::Never)
            && std::io::stdin().is_terminal();
        let mut child = self
            .command(interactive)?
            .spawn()
            .map_err(|error| self.error(format!("cannot be started ({error}){}", self.hint())))?;
        let out = beginning(child.stdout.take(), MAX_OUTPUT);
        let said = beginning(child.stderr.take(), MAX_SHOWN as u64);
        let (out, said, status) = tokio::join!(out, said, child.wait());
        let status = status.map_err(|error| self.error(format!("cannot be run ({error})")))?;
        if status.success() {
            return Ok(out);
        }
        let said = String::from_utf8_lossy(&said);
        let said = plain::short(said.trim(), MAX_SHOWN);
        Err(self.error(format!("failed with {status}: {said}{}", self.hint())))
    }

    fn command(&self, interactive: bool) -> Result<Command, PluginError> {
        let exec = &self.exec;
        if exec.interactive_mode == Some(ExecInteractiveMode::Always) && !interactive {
            return Err(
                self.error("needs a terminal: use credentials that need no person".to_owned())
            );
        }
        let name = exec.command.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(self.error("has no command: name one".to_owned()));
        }
        let mut spec = json!({ "interactive": interactive });
        if exec.provide_cluster_info {
            spec["cluster"] = json!(exec.cluster);
        }
        let info = json!({
            "apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec,
        });
        let mut command = Command::new(name);
        command.args(exec.args.iter().flatten());
        for variable in exec.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
                command.env(name, value);
            }
        }
        command
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        match interactive {
            true => command.stdin(Stdio::inherit()).stderr(Stdio::inherit()),
            false => command.stdin(Stdio::null()).stderr(Stdio::piped()),
        };
        Ok(command)
    }

    fn read(&self, text: &[u8], number: u64) -> Result<Credentials, PluginError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            api_version: Option<String>,
            status: Option<Status>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            token: Option<String>,
            client_certificate_data: Option<String>,
            client_key_data: Option<String>,
            expiration_timestamp: Option<String>,
        }
        let wrong = |what: &str| self.error(format!("gives no credentials: {what}"));
        // The parser's error could contain a part of a token.
        let answer: Answer = serde_json::from_slice(text)
            .map_err(|_| wrong("its output is not an ExecCredential in JSON"))?;
        if answer.api_version != self.exec.api_version {
            return Err(wrong(&format!(
                "the kubeconfig has apiVersion {:?} for it and its output has {:?}; use the same",
                self.exec.api_version.as_deref().unwrap_or_default(),
                plain::short(answer.api_version.as_deref().unwrap_or_default(), MAX_SHOWN),
            )));
        }
        let status = answer
            .status
            .ok_or_else(|| wrong("its output has no status"))?;
        let bearer = status.token.filter(|token| !token.is_empty());
        let bearer = bearer
            .map(|token| HeaderValue::try_from(format!("Bearer {token}")))
            .transpose()
            .map_err(|_| wrong("its token has characters that a header cannot have"))?
            .map(|mut header| {
                header.set_sensitive(true);
                header
            });
        let identity = match (status.client_certificate_data, status.client_key_data) {
            (Some(certificate), Some(key)) => {
                let data = |pem: String| ByteString(pem.into_bytes());
                let identity = json!({
                    "client-certificate-data": data(certificate), "client-key-data": data(key),
                });
                Some(serde_json::from_value(identity).map_err(|_| wrong("its certificate"))?)
            }
            (None, None) => None,
            _ => return Err(wrong("either the certificate or the key is missing")),
        };
        if bearer.is_none() && identity.is_none() {
            return Err(wrong(
                "its status has neither token nor clientCertificateData",
            ));
        }
        let expiry = status.expiration_timestamp.map(|text| text.parse());
        let expiry = expiry
            .transpose()
            .map_err(|_| wrong("its expirationTimestamp is not an RFC 3339 time"))?;
        Ok(Credentials {
            number,
            bearer,
            identity,
            expiry,
        })
    }

    fn hint(&self) -> String {
        let hint = self.exec.install_hint.as_deref().unwrap_or_default().trim();
        match hint {
            "" => ". Install it, or correct the kubeconfig".to_owned(),
            hint => format!(". {}", plain::short(hint, MAX_SHOWN)),
        }
    }

    fn error(&self, what: String) -> PluginError {
        PluginError {
            command: self.exec.command.clone().unwrap_or_default(),
            what,
        }
    }
}

/// Reads a pipe to its end, and returns its beginning.
async fn beginning(pipe: Option<impl AsyncRead + Unpin>, bytes: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        // The parser reports bytes that could not be read.
        let _ = (&mut pipe).take(bytes).read_to_end(&mut kept).await;
        let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    }
    kept
}

#[cfg(test)]
#[path = "plugin_tests.rs"]
mod tests;
