use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::*;

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) publisher: StatusPublisher,
    liveness: Liveness,
    ready: watch::Sender<bool>,
    task: JoinHandle<()>,
}

pub(super) async fn start() -> Server {
    let (ready, readiness) = watch::channel(false);
    let (liveness, publisher) = (Liveness::new(Duration::ZERO), StatusPublisher::default());
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .expect("listener");
    let address = listener.local_addr().expect("address");
    let task = tokio::spawn(serve(
        listener,
        Metrics::new(),
        liveness.clone(),
        readiness,
        Some(publisher.clone()),
    ));
    Server {
        address,
        publisher,
        liveness,
        ready,
        task,
    }
}

pub(super) async fn request(address: SocketAddr, line: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connection");
    let text = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answer");
    answer
}

#[tokio::test]
async fn each_endpoint_answers() {
    let server = start().await;
    assert!(
        request(server.address, "GET /healthz")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    let busy = server.liveness.busy();
    assert!(
        request(server.address, "GET /healthz")
            .await
            .starts_with("HTTP/1.1 503 ")
    );
    drop(busy);
    let unready = request(server.address, "GET /readyz").await;
    assert!(
        unready.starts_with("HTTP/1.1 503 ") && unready.contains("starting or stopping"),
        "{unready}"
    );
    server.ready.send_replace(true);
    assert!(
        request(server.address, "GET /readyz")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    let metrics = request(server.address, "GET /metrics").await;
    assert!(
        metrics.contains(OPENMETRICS) && metrics.ends_with("# EOF\n"),
        "{metrics}"
    );
    assert!(
        request(server.address, "POST /metrics")
            .await
            .starts_with("HTTP/1.1 405 ")
    );
    assert!(
        request(server.address, "GET /other")
            .await
            .starts_with("HTTP/1.1 404 ")
    );
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_the_end() {
    let server = start().await;
    let mut idle = TcpStream::connect(server.address)
        .await
        .expect("connection");
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("write");
    let mut byte = [0];
    idle.read_exact(&mut byte).await.expect("it is served");
    drop(server.ready);
    tokio::time::timeout(Duration::from_secs(10), server.task)
        .await
        .expect("it ends")
        .expect("without a panic");
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let server = start().await;
    let mut silent = TcpStream::connect(server.address)
        .await
        .expect("connection");
    silent
        .write_all(b"GET /healthz HTTP/1.1\r\n")
        .await
        .expect("write");
    // The paused clock advances whenever nothing else can run, so the header timeout passes immediately.
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    let _closed = silent.read_to_end(&mut Vec::new()).await;
    assert!(
        before.elapsed() < 2 * HEADER_TIMEOUT,
        "{:?}",
        before.elapsed()
    );
}

#[tokio::test]
async fn the_status_is_served_under_names_that_are_ours() {
    let server = start().await;
    for (host, code) in [("localhost:8080", 200), ("rebind.example.com", 421)] {
        for path in ["/", "/api/status"] {
            let mut stream = TcpStream::connect(server.address)
                .await
                .expect("connection");
            let text = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            stream.write_all(text.as_bytes()).await.expect("write");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("answer");
            assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
        }
    }
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("connection");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: ")
        .await
        .expect("write");
    // The write fails once the other side has closed.
    let _written = stream.write_all(&[b'x'; 4 * MAX_HEADERS]).await;
    let mut answer = Vec::new();
    let _read = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
}

#[tokio::test]
async fn a_taken_address_is_told_with_its_remedy() {
    let taken = listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .expect("listener");
    let address = taken.local_addr().expect("address");
    let error = listen(address).await.expect_err("taken").to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("--address"),
        "{error}"
    );
}
