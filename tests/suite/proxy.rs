//! A link that fails on demand: a TCP proxy between one replica and one server.
//!
//! A cut link drops bytes silently, as a broken network does. A connection that has lost bytes is reset when the link works again, so that
//! no lost byte arrives late.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// The direction, from the replica's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
    Both,
}

/// The state of a request when its trap is triggered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Sent, and not yet received: it stays in the link until [`Link::let_go`] or [`Link::reset`].
    Before,
    /// Passed on to the server.
    During,
    /// Answered.
    After,
}

#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    up_cut: bool,
    down_cut: bool,
    /// The number of resets. Older connections are broken.
    resets: u64,
    /// The number of times that held data was let go.
    let_go: u64,
}

struct Trap {
    /// The text to find in the request's body.
    text: Vec<u8>,
    moment: Moment,
    sprung: oneshot::Sender<()>,
}

struct Shared {
    upstream: u16,
    weather: watch::Sender<Weather>,
    /// The number of bytes that the replica has sent.
    sent: AtomicU64,
    trap: Mutex<Option<Trap>>,
}

/// A proxy from its own port to another port of this machine. Dropping it ends the proxy.
pub struct Link {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// Returns the runtime of all links, with its own thread, because tests block theirs while they call servers.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    })
}

impl Link {
    pub fn to(upstream: u16) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream,
            weather: watch::Sender::new(Weather::default()),
            sent: AtomicU64::new(0),
            trap: Mutex::new(None),
        });
        let accepting = runtime().spawn(accept(listener, Arc::clone(&shared)));
        Self {
            port,
            shared,
            accepting,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the number of bytes that the replica has sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    pub fn cut(&self, way: Way) {
        self.shared.weather.send_modify(|weather| {
            weather.up_cut |= way != Way::Down;
            weather.down_cut |= way != Way::Up;
        });
    }

    pub fn mend(&self) {
        self.shared.weather.send_modify(|weather| {
            weather.up_cut = false;
            weather.down_cut = false;
        });
    }

    /// Breaks every existing connection; new ones work.
    pub fn reset(&self) {
        self.shared
            .weather
            .send_modify(|weather| weather.resets += 1);
    }

    /// Resolves once when the next call of this AWS action reaches this state.
    pub fn trap(&self, action: &str, moment: Moment) -> oneshot::Receiver<()> {
        let (sprung, springs) = oneshot::channel();
        let trap = Trap {
            text: format!("Action={action}&").into_bytes(),
            moment,
            sprung,
        };
        *self
            .shared
            .trap
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(trap);
        springs
    }

    /// Lets a trapped request continue.
    pub fn let_go(&self) {
        self.shared
            .weather
            .send_modify(|weather| weather.let_go += 1);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
        self.reset();
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(connection(client, Arc::clone(&shared)));
    }
}

async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let mut weather = shared.weather.subscribe();
    let resets = weather.borrow().resets;
    let Ok(server) = TcpStream::connect(("127.0.0.1", shared.upstream)).await else {
        return;
    };
    for stream in [&client, &server] {
        // A connection that ends early here is reset.
        let _ = stream.set_zero_linger();
        let _ = stream.set_nodelay(true);
    }
    let (lost, answered) = (AtomicBool::new(false), mpsc::unbounded_channel());
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let passing = async {
        tokio::join!(
            up(&shared, from_client, to_server, &lost, answered.0),
            down(&shared, from_server, to_client, &lost, answered.1),
        )
    };
    let breaking = weather.wait_for(|weather| {
        let whole = !weather.up_cut && !weather.down_cut;
        weather.resets != resets || whole && lost.load(Ordering::Relaxed)
    });
    tokio::select! {
        _ = passing => {}
        _ = breaking => {}
    }
}

/// The traps that wait for responses.
type Springs = mpsc::UnboundedSender<oneshot::Sender<()>>;

async fn up(
    shared: &Shared,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    lost: &AtomicBool,
    springs: Springs,
) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..length];
        shared.sent.fetch_add(length as u64, Ordering::Relaxed);
        if shared.weather.borrow().up_cut {
            lost.store(true, Ordering::Relaxed);
            continue;
        }
        let sprung = shared.springs(bytes);
        if let Some((Moment::Before, sprung)) = sprung {
            let mut weather = shared.weather.subscribe();
            let before = weather.borrow().let_go;
            let _ = sprung.send(());
            let _ = weather.wait_for(|weather| weather.let_go > before).await;
            let _ = to.write_all(bytes).await;
            continue;
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
        match sprung {
            Some((Moment::After, sprung)) => drop(springs.send(sprung)),
            Some((_, sprung)) => drop(sprung.send(())),
            None => {}
        }
    }
    end(to, lost).await;
}

async fn down(
    shared: &Shared,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    lost: &AtomicBool,
    mut springs: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if shared.weather.borrow().down_cut {
            lost.store(true, Ordering::Relaxed);
            continue;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        while let Ok(sprung) = springs.try_recv() {
            let _ = sprung.send(());
        }
    }
    end(to, lost).await;
}

/// Passes on the end of a connection, unless bytes were lost. Then only mending the link ends the connection.
async fn end(mut to: OwnedWriteHalf, lost: &AtomicBool) {
    if lost.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    let _ = to.shutdown().await;
}

impl Shared {
    /// Returns the trap if these bytes match it.
    fn springs(&self, bytes: &[u8]) -> Option<(Moment, oneshot::Sender<()>)> {
        let mut trap = self.trap.lock().unwrap_or_else(PoisonError::into_inner);
        let text = &trap.as_ref()?.text;
        let found = bytes
            .windows(text.len())
            .any(|window| window == text.as_slice());
        if !found {
            return None;
        }
        trap.take().map(|trap| (trap.moment, trap.sprung))
    }
}
