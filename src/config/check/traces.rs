//! The destination of traces. The variables have the meaning of OpenTelemetry's specification. A platform sets them for all its pods, so an
//! unsupported value is a warning; only the flag can be a mistake. (The OpenTelemetry libraries read the variables of the sampler, the
//! batches, the resource and the headers.)

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::super::form::{self, Judged, quote, wrong};
use super::super::{Facts, Purpose, Traces};
use super::Check;

const FLAG: &str = "otlp-endpoint";
/// The samplers that the SDK knows.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
const OFF: &str = "there are no traces";
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_TIMEOUT_MS: u16 = 60_000;

/// Values of variables, by name.
type Variables = BTreeMap<String, String>;

impl Check {
    /// Returns the settings of traces. Only the controller has traces: a subcommand ignores variables that a shell sets for other programs.
    pub(super) fn traces(
        &mut self,
        flag: &Option<String>,
        facts: &Facts,
        purpose: Purpose,
    ) -> Option<Traces> {
        let (nothing, otel) = (Variables::new(), &facts.otel);
        let otel = if purpose == Purpose::Run {
            otel
        } else {
            &nothing
        };
        let is = |name: &str, value: &str| {
            let set = otel.get(name);
            set.is_some_and(|set| set.trim().eq_ignore_ascii_case(value))
        };
        let of_flag = self.optional(FLAG, flag, base);
        let given = flag.as_deref().is_some_and(|text| !text.trim().is_empty());
        let endpoint = if given {
            of_flag
        } else if let Some(text) = otel.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            self.or_warning(url(text.trim()), OFF)
        } else {
            let text = otel.get("OTEL_EXPORTER_OTLP_ENDPOINT");
            text.and_then(|text| self.or_warning(base(text.trim()), OFF))
        };
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return None;
        }
        let endpoint = endpoint?;
        self.or_warning(possible(otel), OFF)?;
        self.or_warning(headers(otel), OFF)?;
        let _ = self.or_warning(compression(otel), "traces are not compressed");
        let _ = self.or_warning(sampler(otel), "the SDK takes its default");
        let timeout = of_traces(otel, "TIMEOUT").map(|(name, text)| timeout(&name, text));
        Some(Traces {
            endpoint,
            timeout: timeout
                .and_then(|judged| self.or_warning(judged, "it is 10 s"))
                .unwrap_or(TIMEOUT),
        })
    }

    fn or_warning<T>(&mut self, judged: Judged<T>, instead: &str) -> Option<T> {
        judged
            .map_err(|(problem, remedy)| {
                self.warnings
                    .push(format!("{problem}: {remedy}. Until then {instead}"));
            })
            .ok()
    }
}

/// Returns the name and value of the variable for traces, or else of the one for all signals.
fn of_traces<'a>(otel: &'a Variables, what: &str) -> Option<(String, &'a str)> {
    ["TRACES_", ""].iter().find_map(|signal| {
        let name = format!("OTEL_EXPORTER_OTLP_{signal}{what}");
        let value = otel.get(&name)?.trim();
        Some((name, value))
    })
}

/// Parses a base address, and adds the usual path of traces.
fn base(text: &str) -> Judged<Uri> {
    let given = url(text)?;
    let text = given.to_string();
    url(&format!("{}/v1/traces", text.trim_end_matches('/')))
}

fn url(text: &str) -> Judged<Uri> {
    let form = "give it as http://HOST:PORT; a collector usually has port 4318 for OTLP over HTTP";
    form::url(text, text, form, "put them into OTEL_EXPORTER_OTLP_HEADERS")
}

fn only(otel: &Variables, what: &str, only: &str) -> Judged<()> {
    match of_traces(otel, what).filter(|(_, value)| *value != only) {
        Some((name, value)) => {
            let remedy = format!("leave {name} out, or set it to {only}");
            wrong(format!("{name} is {}", quote(value)), remedy)
        }
        None => Ok(()),
    }
}

fn compression(otel: &Variables) -> Judged<()> {
    only(otel, "COMPRESSION", "none")
}

fn sampler(otel: &Variables) -> Judged<()> {
    let name = "OTEL_TRACES_SAMPLER";
    let unknown = |value: &&String| !SAMPLERS.contains(&value.as_str());
    match otel.get(name).filter(unknown) {
        Some(value) => {
            let remedy = format!("set it to one of {}", SAMPLERS.join(", "));
            wrong(format!("{name} is {}", quote(value)), remedy)
        }
        None => Ok(()),
    }
}

/// Refuses a protocol, certificate or exporter in the environment that the program does not support.
fn possible(otel: &Variables) -> Judged<()> {
    only(otel, "PROTOCOL", "http/protobuf")?;
    for what in ["CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"] {
        if let Some((name, _)) = of_traces(otel, what) {
            let remedy = "leave it out; SSL_CERT_FILE names the CAs that are trusted, and a collector beside the pod \
                          needs no TLS";
            return wrong(format!("{name} is not supported"), remedy);
        }
    }
    let exporter = "OTEL_TRACES_EXPORTER";
    if let Some(value) = otel.get(exporter).filter(|value| *value != "otlp") {
        let remedy = format!("leave {exporter} out, or set it to otlp or none");
        return wrong(format!("{exporter} is {}", quote(value)), remedy);
    }
    Ok(())
}

/// Checks headers: `key=value` with commas between them, percent-encoded. The exporter reads them, and ignores what it cannot read.
fn headers(otel: &Variables) -> Judged<()> {
    let Some((name, text)) = of_traces(otel, "HEADERS") else {
        return Ok(());
    };
    let is_header = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        HeaderValue::from_str(&value).ok()?;
        key.trim().parse::<HeaderName>().ok()
    };
    let mut pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    if pairs.all(|pair| is_header(pair).is_some()) {
        return Ok(());
    }
    // Not quoted: headers may be secrets.
    wrong(
        format!("{name} holds a value that is not a header"),
        "write KEY=VALUE, several with commas between them, other characters percent-encoded",
    )
}

/// Parses a timeout in milliseconds.
fn timeout(name: &str, text: &str) -> Judged<Duration> {
    match form::number(text, 1, MAX_TIMEOUT_MS) {
        Ok(number) => Ok(Duration::from_millis(number.into())),
        Err((problem, _)) => wrong(
            format!("{name}: {problem}"),
            "give a whole number of milliseconds within these bounds",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(flag: &str, variables: &str) -> Result<Option<Traces>, String> {
        judge_for(Purpose::Run, flag, variables)
    }

    fn judge_for(purpose: Purpose, flag: &str, variables: &str) -> Result<Option<Traces>, String> {
        let (traces, check) = checked(purpose, flag, variables);
        match check.mistakes.first() {
            Some(mistake) => Err(mistake.to_string()),
            None => Ok(traces),
        }
    }

    fn checked(purpose: Purpose, flag: &str, variables: &str) -> (Option<Traces>, Check) {
        let pair = |word: &str| {
            let (name, value) = word.split_once('=').unwrap();
            (name.replace('~', "OTEL_EXPORTER_OTLP_"), value.to_owned())
        };
        let facts = Facts {
            otel: variables.split_whitespace().map(pair).collect(),
            ..Facts::default()
        };
        let mut check = Check::default();
        let traces = check.traces(&Some(flag.to_owned()), &facts, purpose);
        (traces, check)
    }

    #[test]
    fn the_endpoint_is_the_flag_s_else_the_environment_s() {
        let endpoint = |flag: &str, variables: &str| {
            let traces = judge(flag, variables).unwrap();
            traces.map(|traces| traces.endpoint.to_string())
        };
        let is = |url: &str| Some(url.to_owned());
        assert_eq!(endpoint("", ""), None);
        for base in ["http://c:4318", "http://c:4318/"] {
            assert_eq!(endpoint(base, ""), is("http://c:4318/v1/traces"));
        }
        assert_eq!(endpoint("https://c/a/", ""), is("https://c/a/v1/traces"));
        let both = "~ENDPOINT=http://e:1 ~TRACES_ENDPOINT=http://t:2/x";
        assert_eq!(endpoint("http://f:3", both), is("http://f:3/v1/traces"));
        assert_eq!(endpoint("", both), is("http://t:2/x"));
        assert_eq!(
            endpoint("", "~ENDPOINT=http://e:1"),
            is("http://e:1/v1/traces")
        );
        for off in ["OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none"] {
            assert_eq!(endpoint("http://f:3", off), None);
        }
    }

    #[test]
    fn the_timeout_is_that_for_traces_else_that_for_all() {
        let timeout = |variables: &str| judge("http://f", variables).unwrap().unwrap().timeout;
        assert_eq!(timeout("~PROTOCOL=http/protobuf"), TIMEOUT);
        let all = "~TIMEOUT=250 ~HEADERS=Authorization=Bearer%20s3cret,x-scope=1";
        assert_eq!(timeout(all), Duration::from_millis(250));
        let both = "~TIMEOUT=250 ~TRACES_TIMEOUT=300";
        assert_eq!(timeout(both), Duration::from_millis(300));
    }

    #[test]
    fn an_address_that_the_flag_cannot_have_is_a_mistake() {
        for (flag, told) in [
            ("collector:4318", "a scheme other than"),
            ("grpc://collector", "a scheme other than"),
            ("http://:4318", "http"),
            ("https://user:pass@c", "OTEL_EXPORTER_OTLP_HEADERS"),
        ] {
            let mistake = judge(flag, "").unwrap_err();
            assert!(mistake.contains(told), "{flag}: {mistake}");
            assert!(!mistake.contains("pass@"));
        }
    }

    /// A platform injects these variables into every pod, so they are not a mistake of the controller's operator.
    #[test]
    fn variables_that_cannot_be_honoured_are_warnings_with_their_remedy() {
        for (variables, told, on) in [
            ("~ENDPOINT=nonsense", "HOST:PORT", false),
            (
                "~ENDPOINT=http://c ~PROTOCOL=grpc",
                "set it to http/protobuf",
                false,
            ),
            (
                "~ENDPOINT=http://c ~CERTIFICATE=/ca.pem",
                "SSL_CERT_FILE",
                false,
            ),
            (
                "~ENDPOINT=http://c ~HEADERS=secret",
                "is not a header",
                false,
            ),
            (
                "~ENDPOINT=http://c OTEL_TRACES_EXPORTER=zipkin",
                "otlp or none",
                false,
            ),
            (
                "~ENDPOINT=http://c ~TRACES_COMPRESSION=gzip",
                "TRACES_COMPRESSION",
                true,
            ),
            ("~ENDPOINT=http://c ~TIMEOUT=10s", "milliseconds", true),
            (
                "~ENDPOINT=http://c OTEL_TRACES_SAMPLER=xray",
                "parentbased_",
                true,
            ),
        ] {
            let (traces, check) = checked(Purpose::Run, "", variables);
            assert!(check.mistakes.is_empty(), "{variables}");
            let [warning] = &check.warnings[..] else {
                panic!("{variables}: {:?}", check.warnings);
            };
            assert!(warning.contains(told), "{variables}: {warning}");
            assert!(!warning.contains("secret"), "{warning}");
            assert_eq!(traces.is_some(), on, "{variables}");
        }
        // Without an endpoint, and in a subcommand, the variables do not matter.
        let of_a_shell = "~ENDPOINT=http://c ~PROTOCOL=grpc";
        for (purpose, variables) in [
            (Purpose::Run, "~PROTOCOL=grpc"),
            (Purpose::Read, of_a_shell),
        ] {
            let (traces, check) = checked(purpose, "", variables);
            assert!(traces.is_none() && check.warnings.is_empty() && check.mistakes.is_empty());
        }
    }
}
