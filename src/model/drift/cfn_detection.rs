//! CloudFormation's own drift detection. It takes minutes and several calls, so it is started only for drift that persists, to confirm the
//! drift and to name the properties. Time is an argument: the duration since 1970.

use std::collections::BTreeMap;
use std::time::Duration;

/// The poll interval of a running detection.
const POLL: Duration = Duration::from_secs(15);
/// The timeout of a detection. AWS documents that it "can take up to several minutes".
const PATIENCE: Duration = Duration::from_secs(900);
/// The minimum time between two detections.
const PACE: Duration = Duration::from_secs(900);
/// The wait after a failed detection. A permission may be missing.
const AGAIN: Duration = Duration::from_secs(3_600);
/// The maximum number of differences that are named per resource.
const MAX_DIFFERENCES: usize = 5;

/// The progress of a detection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detection {
    UnderWay,
    /// The resources that are not in sync, by logical id.
    Done(BTreeMap<String, Verdict>),
}

/// The result for one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Deleted,
    Modified(Vec<Property>),
}

/// One property that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Property {
    /// A JSON pointer, such as `/SubnetId`.
    pub path: String,
    pub expected: String,
    pub actual: String,
}

/// One detection and its result.
#[derive(Clone, Debug, Default)]
pub struct Inquiry {
    /// The keys of the drifts that persist; empty if no detection is needed.
    about: Vec<String>,
    /// When the detection was first requested.
    begun: Option<Duration>,
    /// When CloudFormation was last called.
    asked: Option<Duration>,
    answer: Option<Result<Detection, String>>,
}

impl Inquiry {
    /// Records, at the end of a pass, the drifts that persist.
    pub fn note(&mut self, staying: Vec<String>, now: Duration) {
        if staying.is_empty() {
            (self.about, self.answer) = (staying, None);
            return;
        }
        let paced = |begun| now.saturating_sub(begun) >= PACE;
        if staying != self.about && self.begun.is_none_or(paced) {
            *self = Self {
                about: staying,
                ..Self::default()
            };
        }
    }

    /// Returns the time until the next call of CloudFormation; None if no call is needed.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        let pause = match &self.answer {
            _ if self.about.is_empty() => return None,
            Some(Ok(Detection::Done(_))) => return None,
            Some(Err(_)) => AGAIN,
            None | Some(Ok(Detection::UnderWay)) => POLL,
        };
        let since = self.asked.map(|asked| now.saturating_sub(asked));
        Some(since.map_or(Duration::ZERO, |since| pause.saturating_sub(since)))
    }

    /// Whether the next call starts a detection instead of polling one.
    pub fn is_new(&self) -> bool {
        self.answer != Some(Ok(Detection::UnderWay))
    }

    /// Records the response to a call; None if the call should be repeated soon.
    pub fn answered(&mut self, answer: Option<Result<Detection, String>>, now: Duration) {
        let begun = *self.begun.get_or_insert(now);
        self.asked = Some(now);
        let ended = matches!(answer, Some(Ok(Detection::Done(_)) | Err(_)));
        if !ended && now.saturating_sub(begun) >= PATIENCE {
            self.answer = Some(Err("it did not finish".to_owned()));
        } else if answer.is_some() {
            self.answer = answer;
        }
        if matches!(self.answer, Some(Err(_))) {
            self.begun = None;
        }
    }

    /// Returns the result for the drift of this resource, as the end of a sentence.
    pub fn says(&self, id: &str) -> Option<String> {
        let said = match self.answer.as_ref()? {
            Ok(Detection::UnderWay) => return None,
            Err(why) => format!("could not be made: {why}"),
            Ok(Detection::Done(verdicts)) => match verdicts.get(id) {
                Some(verdict) => format!("says {verdict}"),
                None => "does not show it".to_owned(),
            },
        };
        Some(format!("CloudFormation's drift detection {said}"))
    }

    /// Returns the results for other resources.
    pub fn others<'a>(
        &'a self,
        known: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a String, &'a Verdict)> {
        let verdicts = match &self.answer {
            Some(Ok(Detection::Done(verdicts))) => Some(verdicts),
            _ => None,
        };
        let all = verdicts.into_iter().flatten();
        all.filter(move |(id, _)| !known(id))
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Modified(properties) = self else {
            return f.write_str("DELETED");
        };
        f.write_str("MODIFIED")?;
        for property in properties.iter().take(MAX_DIFFERENCES) {
            let Property {
                path,
                expected,
                actual,
            } = property;
            write!(f, ", {path} is {actual} instead of {expected}")?;
        }
        match properties.len().saturating_sub(MAX_DIFFERENCES) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn about(inquiry: &mut Inquiry, what: &[&str], seconds: u64) {
        let what = what.iter().map(|it| (*it).to_owned()).collect();
        inquiry.note(what, at(seconds));
    }

    #[test]
    fn it_is_asked_once_about_what_stays() {
        let mut inquiry = Inquiry::default();
        about(&mut inquiry, &[], 0);
        assert_eq!(inquiry.wait(at(0)), None);
        about(&mut inquiry, &["one"], 10);
        assert_eq!(inquiry.wait(at(10)), Some(Duration::ZERO));
        assert!(inquiry.is_new());
        inquiry.answered(Some(Ok(Detection::UnderWay)), at(10));
        assert!(!inquiry.is_new());
        assert_eq!(inquiry.wait(at(12)), Some(at(13)));
        assert_eq!(inquiry.says("Eip"), None);
        let properties = (0..6).map(|number| Property {
            path: format!("/Tags/{number}"),
            expected: "a".to_owned(),
            actual: "b".to_owned(),
        });
        let modified = Verdict::Modified(properties.collect());
        let found = [
            ("Eip".to_owned(), modified),
            ("Nat".to_owned(), Verdict::Deleted),
        ];
        inquiry.answered(Some(Ok(Detection::Done(found.into()))), at(25));
        about(&mut inquiry, &["one"], 26);
        assert_eq!(inquiry.wait(at(100_000)), None, "it has answered");
        let says = |id| inquiry.says(id).expect("an answer");
        assert!(says("Eip").ends_with("/Tags/4 is b instead of a, and 1 more"));
        assert!(says("Nat").ends_with("says DELETED"));
        assert!(says("Route").ends_with("does not show it"));
        let others: Vec<&String> = inquiry.others(|id| id == "Eip").map(|(id, _)| id).collect();
        assert_eq!(others, ["Nat"]);
        about(&mut inquiry, &[], 30);
        assert_eq!(inquiry.says("Nat"), None);
    }

    #[test]
    fn whatever_drifts_it_is_seldom_asked() {
        let mut inquiry = Inquiry::default();
        about(&mut inquiry, &["one"], 0);
        inquiry.answered(Some(Ok(Detection::Done(BTreeMap::new()))), at(0));
        about(&mut inquiry, &["two"], 60);
        assert_eq!(inquiry.wait(at(60)), None);
        about(&mut inquiry, &["two"], PACE.as_secs());
        assert_eq!(inquiry.wait(PACE), Some(Duration::ZERO));
    }

    #[test]
    fn what_never_ends_or_fails_is_tried_again_after_an_hour() {
        let mut inquiry = Inquiry::default();
        about(&mut inquiry, &["one"], 0);
        inquiry.answered(None, at(0));
        assert!(inquiry.is_new(), "it was not accepted");
        inquiry.answered(Some(Ok(Detection::UnderWay)), at(POLL.as_secs()));
        inquiry.answered(Some(Ok(Detection::UnderWay)), PATIENCE);
        assert!(inquiry.says("Eip").expect("why").contains("did not finish"));
        assert_eq!(inquiry.wait(PATIENCE), Some(AGAIN));
        assert!(inquiry.is_new());
        inquiry.answered(Some(Err("denied".to_owned())), PATIENCE + AGAIN);
        assert!(
            inquiry
                .says("Eip")
                .expect("why")
                .ends_with("be made: denied")
        );
    }
}
