//! The informer against an API server in this process, on virtual time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::channel::mpsc;
use http::{Request, Response, StatusCode};
use http_body_util::StreamBody;
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch as channel;
use tokio::time::advance;

use super::super::board::Boards;
use super::*;
use crate::model::input::request::Snapshot;

#[path = "crowd_tests.rs"]
mod crowd;

const RESYNC: Duration = Duration::from_secs(300);
const POISON: &str = r#"[{"time":"9999-12-31T23:59:59Z","fieldsV1":DEEP}]"#;

type Line = mpsc::UnboundedSender<Result<Frame<Bytes>, std::io::Error>>;

#[derive(Default)]
struct Server {
    version: u64,
    objects: Vec<Value>,
    /// The errors that the next watches get instead of responses.
    refusals: VecDeque<(u16, &'static str)>,
    /// Whether lists never end.
    endless: bool,
    lists: usize,
    watches: Vec<Line>,
}

struct Rig {
    server: Arc<Mutex<Server>>,
    receiver: channel::Receiver<Option<Snapshot>>,
    past: Past,
    task: tokio::task::JoinHandle<()>,
}

fn object(name: &str, value: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "team", "uid": name, "resourceVersion": "5" },
        "data": { "key": value },
    })
}

/// Returns an object that a typed client cannot parse.
fn poisoned(name: &str) -> String {
    let deep = "{\"f:x\":".repeat(500) + "1" + &"}".repeat(500);
    let fields = POISON.replace("DEEP", &deep);
    let text = object(name, "1.1.1.1").to_string();
    text.replace(
        "\"metadata\":{",
        &format!("\"metadata\":{{\"managedFields\":{fields},"),
    )
}

impl Server {
    fn answer(
        &mut self,
        request: &Request<Body>,
    ) -> (
        StatusCode,
        mpsc::UnboundedReceiver<Result<Frame<Bytes>, std::io::Error>>,
    ) {
        let query = request.uri().query().unwrap_or_default();
        let field = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let (sender, receiver) = mpsc::unbounded();
        if field("watch").is_some() {
            if let Some((code, message)) = self.refusals.pop_front() {
                say(&sender, &json!({"message": message}).to_string());
                return (StatusCode::from_u16(code).expect("a code"), receiver);
            }
            self.watches.push(sender);
            return (StatusCode::OK, receiver);
        }
        self.lists += 1;
        let limit: usize = field("limit")
            .and_then(|text| text.parse().ok())
            .expect("a limit");
        assert!(
            field("resourceVersion").is_none(),
            "a consistent read names none"
        );
        let from: usize = field("continue").map_or(0, |text| text.parse().expect("ours"));
        let page: Vec<String> = self
            .objects
            .iter()
            .skip(from)
            .take(limit)
            .map(|value| match value {
                Value::String(raw) => raw.clone(),
                other => other.to_string(),
            })
            .collect();
        let more = self.endless || from + limit < self.objects.len();
        let next = if more {
            (from + limit).to_string()
        } else {
            String::new()
        };
        say(
            &sender,
            &format!(
                "{{\"metadata\":{{\"resourceVersion\":\"{}\",\"continue\":\"{next}\"}},\"items\":[{}]}}",
                self.version,
                page.join(",")
            ),
        );
        (StatusCode::OK, receiver)
    }

    fn tell(&self, line: &str) {
        let watch = self.watches.last().expect("a watch");
        say(watch, &format!("{line}\n"));
    }
}

fn say(to: &Line, text: &str) {
    let bytes = Bytes::from(text.to_owned());
    let _ = to.unbounded_send(Ok(Frame::data(bytes)));
}

fn rig(server: Server) -> Rig {
    follow(Arc::new(Mutex::new(server)), Past::default())
}

fn follow(server: Arc<Mutex<Server>>, past: Past) -> Rig {
    let shared = Arc::clone(&server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (code, lines) = shared.lock().expect("whole").answer(&request);
        let answer = Response::builder()
            .status(code)
            .body(StreamBody::new(lines.boxed()));
        async move { answer.map_err(std::io::Error::other) }
    });
    let (sender, receiver) = channel::channel(None);
    let boards = Boards::new(sender, Arc::default(), [""].into_iter());
    let reader = Reader {
        client: Client::new(service, "default"),
        cluster: String::new(),
        namespace: None,
    };
    let informer = Informer::new(reader, boards.board(""), RESYNC, past.clone());
    Rig {
        server,
        receiver,
        past,
        task: tokio::spawn(informer.run()),
    }
}

impl Rig {
    fn server<T>(&self, act: impl FnOnce(&mut Server) -> T) -> T {
        act(&mut self.server.lock().expect("whole"))
    }

    /// Starts another term of the same process.
    fn again(self) -> Self {
        self.task.abort();
        follow(self.server, self.past)
    }

    fn known(&self) -> Snapshot {
        self.receiver.borrow().clone().unwrap_or_default()
    }

    fn value(&self, name: &str) -> Option<String> {
        let known = self.known();
        let mut found = known.objects.iter().filter(|(id, _)| id.name == name);
        found
            .next()
            .and_then(|(_, object)| object.data.get("key").cloned())
    }
}

/// Advances time in small steps.
async fn pass(seconds: f64) {
    for _ in 0..(seconds * 10.0) as u32 {
        advance(Duration::from_millis(100)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

fn with(objects: Vec<Value>) -> Server {
    Server {
        version: 10,
        objects,
        ..Server::default()
    }
}

#[tokio::test(start_paused = true)]
async fn no_object_harms_another() {
    let broken = object("broken", "").to_string().replace("\"\"", "[1]");
    let rig = rig(with(vec![
        Value::String(poisoned("poison")),
        Value::String(broken),
        object("good", "8.8.8.8"),
    ]));
    pass(1.0).await;
    assert_eq!(rig.value("good").as_deref(), Some("8.8.8.8"));
    assert_eq!(rig.value("poison").as_deref(), Some("1.1.1.1"));
    assert!(rig.known().is_certain());
    // Once per second, for longer than any backoff.
    for second in 0..60 {
        rig.server(|server| {
            server.tell(&format!(
                "{{\"type\":\"MODIFIED\",\"object\":{}}}",
                poisoned("poison")
            ));
            let good = object("good", &format!("8.8.8.{second}"));
            server.tell(&json!({"type": "MODIFIED", "object": good}).to_string());
        });
        pass(1.0).await;
        assert_eq!(rig.value("good"), Some(format!("8.8.8.{second}")));
    }
    assert_eq!(
        rig.server(|server| server.lists),
        1,
        "nothing was listed again"
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_that_names_nothing_is_skipped_and_everything_listed_in_a_while() {
    let rig = rig(with(vec![object("good", "8.8.8.8")]));
    pass(1.0).await;
    for second in 0..60 {
        rig.server(|server| {
            server.tell("{\"type\":\"MODIFIED\",\"object\":{\"metadata\":7}}");
            let good = object("good", &format!("8.8.8.{second}"));
            server.objects = vec![good.clone()];
            server.tell(&json!({"type": "MODIFIED", "object": good}).to_string());
        });
        pass(1.0).await;
        assert_eq!(rig.value("good"), Some(format!("8.8.8.{second}")));
    }
    let lists = rig.server(|server| server.lists);
    assert!((2..=4).contains(&lists), "{lists}");
}

#[tokio::test(start_paused = true)]
async fn many_objects_are_listed_page_by_page() {
    let objects = (0..120).map(|number| object(&format!("o{number}"), "8.8.8.8"));
    let rig = rig(with(objects.collect()));
    pass(1.0).await;
    assert_eq!(rig.known().objects.len(), 120);
    assert_eq!(rig.server(|server| server.lists), 3);
}

#[tokio::test(start_paused = true)]
async fn a_list_without_an_end_is_asked_for_at_a_pace() {
    let rig = rig(Server {
        endless: true,
        ..with(vec![object("good", "8.8.8.8")])
    });
    pass(60.0).await;
    let lists = rig.server(|server| server.lists);
    assert!(lists < 150, "{lists} in a minute");
    let why = rig.known().missing.values().cloned().collect::<String>();
    assert!(why.contains("does not end"), "{why}");
    rig.server(|server| server.endless = false);
    pass(31.0).await;
    assert_eq!(rig.value("good").as_deref(), Some("8.8.8.8"));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_server_does_not_have_leads_to_a_list() {
    for refusal in [
        (504, "Timeout: Too large resource version: 900, current: 7"),
        (410, "too old resource version"),
    ] {
        let rig = rig(with(vec![object("old", "8.8.8.8")]));
        pass(1.0).await;
        rig.server(|server| {
            server.objects = vec![object("new", "9.9.9.9")];
            server.version = 7;
            server.refusals.push_back(refusal);
            server.watches.clear();
        });
        pass(4.0).await;
        assert_eq!(rig.value("new").as_deref(), Some("9.9.9.9"), "{refusal:?}");
        assert_eq!(rig.value("old"), None);
        assert!(rig.known().went_back.len() == 1 && !rig.known().is_certain());
        pass(700.0).await;
        assert!(rig.known().went_back.is_empty());
    }
}

/// The Lease expires during the restore, so the next term observes its result.
#[tokio::test(start_paused = true)]
async fn the_next_term_knows_how_far_the_one_before_had_come() {
    let rig = rig(with(vec![object("lost", "8.8.8.8")]));
    pass(1.0).await;
    let edit = object("lost", "8.8.4.4").to_string();
    let edit = edit.replace("\"5\"", "\"12\"");
    rig.server(|server| server.tell(&format!("{{\"type\":\"MODIFIED\",\"object\":{edit}}}")));
    pass(1.0).await;
    // The version is older than the last event, but not older than the last list.
    rig.server(|server| {
        server.objects.clear();
        server.version = 11;
    });
    let rig = rig.again();
    pass(1.0).await;
    let told = rig.known().went_back.into_values().collect::<String>();
    assert!(told.contains("from version 12 to 11"), "{told}");
    let rig = rig.again();
    pass(1.0).await;
    assert!(!rig.known().is_certain(), "it is not forgotten");
    pass(700.0).await;
    assert!(rig.known().is_certain());
    let rig = rig.again();
    pass(1.0).await;
    assert!(rig.known().is_certain());
}

/// The watch continues as if nothing had happened.
#[tokio::test(start_paused = true)]
async fn what_no_event_told_is_found_within_the_resync_interval() {
    let rig = rig(with(vec![
        object("lost", "8.8.8.8"),
        object("kept", "1.1.1.1"),
    ]));
    pass(1.0).await;
    rig.server(|server| {
        server.objects = vec![object("kept", "1.1.1.1"), object("unseen", "9.9.9.9")];
        server.version = 400;
    });
    for _ in 0..RESYNC.as_secs() / 10 {
        pass(10.0).await;
        rig.server(|server| {
            server.watches.last().expect("a watch").close_channel();
        });
    }
    pass(5.0).await;
    assert_eq!(rig.value("unseen").as_deref(), Some("9.9.9.9"));
    assert_eq!(rig.value("lost"), None);
    assert!(rig.known().went_back.is_empty() && rig.known().is_certain());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_silent_or_refused_is_doubt_at_once_and_told_soon() {
    let rig = rig(with(vec![object("good", "8.8.8.8")]));
    pass(20.0).await;
    assert!(rig.known().is_certain());
    // The watch did not end when it should have.
    rig.server(|server| server.refusals = vec![(401, "Unauthorized"); 10].into());
    pass(16.0).await;
    let known = rig.known();
    assert!(!known.is_certain() && known.stale.is_empty());
    pass(10.0).await;
    let why = rig.known().stale.values().cloned().collect::<String>();
    assert!(why.contains("--credentials-dir"), "{why:?}");
    assert_eq!(rig.value("good").as_deref(), Some("8.8.8.8"));
    rig.server(|server| server.refusals.clear());
    pass(31.0).await;
    assert!(rig.known().is_certain());
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_are_made_at_a_pace() {
    let rig = rig(with(vec![object("good", "8.8.8.8")]));
    pass(1.0).await;
    for _ in 0..300 {
        rig.server(|server| server.watches.last().expect("a watch").close_channel());
        pass(0.1).await;
    }
    let watches = rig.server(|server| server.watches.len());
    assert!((20..=40).contains(&watches), "{watches} in 30 s");
}
