//! Probes succeed while other clients hold the port.

use std::sync::Arc;

use tokio::net::TcpSocket;

use super::tests::{Server, request, start};
use super::*;
use crate::report::status_publisher::StatusSnapshot;

/// The number of connections that would have blocked all probes without limits.
const MANY: usize = 64;
const PATIENCE: Duration = Duration::from_secs(2);
const PAGE: &str = "GET /api/status HTTP/1.1\r\nhost: x\r\n\r\n";
const PROBE: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

async fn connect(server: &Server, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(SocketAddr::from((from, 0)))
        .expect("an address of ours");
    // The kernel holds hardly any of a response.
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let connects = tokio::time::timeout(PATIENCE, socket.connect(server.address));
    connects.await.expect("in time").expect("a connection")
}

async fn say(stream: &mut TcpStream, text: &str) {
    let said = tokio::io::AsyncWriteExt::write_all(stream, text.as_bytes());
    tokio::time::timeout(PATIENCE, said)
        .await
        .expect("in time")
        .expect("said");
}

/// Reads the head of a response.
async fn hear(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"ok\n") {
        let byte = tokio::time::timeout(PATIENCE, tokio::io::AsyncReadExt::read_u8(stream));
        head.push(byte.await.expect("in time").expect("a byte"));
    }
    String::from_utf8(head).expect("text")
}

/// Sends ten probes, as the kubelet does: each on its own connection.
async fn passed(server: &Server) -> usize {
    let mut passed = 0;
    for _ in 0..10 {
        for path in ["GET /healthz", "GET /metrics"] {
            let answer = tokio::time::timeout(PATIENCE, request(server.address, path)).await;
            passed += usize::from(answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")));
        }
    }
    passed
}

/// Returns a status of this many bytes.
fn large(bytes: usize) -> Arc<StatusSnapshot> {
    Arc::new(StatusSnapshot {
        json: format!("\"{}\"", "x".repeat(bytes)).into(),
        digest: format!("{bytes}"),
        ..StatusSnapshot::default()
    })
}

#[tokio::test]
async fn connections_that_are_kept_alive_stop_no_probe() {
    let server = start().await;
    let mut kept = Vec::new();
    for number in 0..MANY {
        let mut stream = connect(&server, [127, 0, 0, 1 + u8::from(number % 2 == 0)]).await;
        say(&mut stream, PROBE).await;
        hear(&mut stream).await;
        kept.push(stream);
    }
    assert_eq!(passed(&server).await, 20);
}

#[tokio::test]
async fn connections_that_say_nothing_stop_no_probe() {
    let server = start().await;
    let mut idle = Vec::new();
    for _ in 0..2_000 {
        idle.push(connect(&server, [127, 0, 0, 1]).await);
    }
    assert_eq!(passed(&server).await, 20);
}

#[tokio::test]
async fn readers_that_do_not_read_stop_no_probe_and_hold_one_status() {
    let server = start().await;
    let issue = large(8 << 20);
    server.publisher.set_latest(Arc::clone(&issue));
    let mut slow = Vec::new();
    for _ in 0..MANY {
        let mut stream = connect(&server, [127, 0, 0, 1]).await;
        say(&mut stream, PAGE).await;
        slow.push(stream);
    }
    assert_eq!(passed(&server).await, 20);
    // Many versions of the status: connections that read old ones are closed.
    for version in 1..=MANY {
        server.publisher.set_latest(large((8 << 20) + version));
        let mut stream = connect(&server, [127, 0, 0, 1]).await;
        say(&mut stream, PAGE).await;
        slow.push(stream);
    }
    assert_eq!(passed(&server).await, 20);
    assert_eq!(Arc::strong_count(&issue), 1);
    let page = tokio::time::timeout(PATIENCE, request(server.address, "GET /api/status"));
    let page = page.await.expect("in time");
    assert!(
        page.len() > 8 << 20 && page.ends_with("x\"}"),
        "{}",
        page.len()
    );
}

#[tokio::test]
async fn one_peer_takes_no_place_of_another() {
    let server = start().await;
    let mut neighbour = connect(&server, [127, 0, 0, 9]).await;
    say(&mut neighbour, PROBE).await;
    hear(&mut neighbour).await;
    let mut many = Vec::new();
    for _ in 0..4 * MANY {
        let mut stream = connect(&server, [127, 0, 0, 1]).await;
        say(&mut stream, PROBE).await;
        many.push(stream);
    }
    assert_eq!(passed(&server).await, 20);
    say(&mut neighbour, PROBE).await;
    hear(&mut neighbour).await;
}

#[tokio::test]
async fn where_places_are_short_nothing_is_kept_alive() {
    let server = start().await;
    let mut kept = Vec::new();
    let mut told = 0;
    for number in 0..40 {
        let mut stream = connect(&server, [127, 0, 0, 1 + number % 4]).await;
        say(&mut stream, PROBE).await;
        told += usize::from(hear(&mut stream).await.contains("connection: close"));
        kept.push(stream);
    }
    // These clients close their connections, so there is always room.
    assert_eq!(told, 8);
}
