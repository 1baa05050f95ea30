//! Proxies that lead to servers of this host, and servers that record the start of each connection.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::wait;

/// The first bytes of each connection to a server.
#[derive(Clone, Default)]
pub struct Heads(Arc<Mutex<Vec<String>>>);

impl Heads {
    /// Reads the head of one request.
    pub fn read(&self, stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        self.0.lock().unwrap().push(head.clone());
        head
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn some(&self) -> Result<(), String> {
        wait::check(!self.all().is_empty(), || "nobody has connected".to_owned())
    }
}

/// Serves every connection in a thread of its own, until the tests end.
pub fn serve(heads: &Heads, each: impl Fn(TcpStream, &Heads) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = heads.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (each, heads) = (each.clone(), heads.clone());
            thread::spawn(move || each(stream, &heads));
        }
    });
    port
}

/// Starts an HTTP proxy for CONNECT. It resolves every name to this host, as a proxy resolves names that its clients cannot.
pub fn proxy() -> (u16, Heads) {
    let heads = Heads::default();
    let port = serve(&heads, |mut client, heads| {
        let head = heads.read(&mut client);
        let port = head
            .split(' ')
            .nth(1)
            .and_then(|target| target.rsplit(':').next()?.parse::<u16>().ok());
        let Some(server) = port.and_then(|port| TcpStream::connect(("127.0.0.1", port)).ok())
        else {
            let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
            return;
        };
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        relay(client, server);
    });
    (port, heads)
}

/// Copies data in both directions until both sides end.
fn relay(mut client: TcpStream, mut server: TcpStream) {
    let (mut from_client, mut to_server) =
        (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}

/// Starts a SOCKS5 proxy without a login, which resolves every name to this host.
pub fn socks_proxy() -> (u16, Heads) {
    let heads = Heads::default();
    let port = serve(&heads, |mut client, heads| {
        let mut read = |length: usize| {
            let mut bytes = vec![0; length];
            client.read_exact(&mut bytes).map(|()| bytes)
        };
        // Version and number of methods, the methods; then version, command, 0, address type, and a name with its length.
        let Ok(methods) = read(2).and_then(|it| read(it[1].into())) else {
            return;
        };
        assert!(methods.contains(&0), "{methods:?}");
        client.write_all(&[5, 0]).unwrap();
        let mut read = |length: usize| {
            let mut bytes = vec![0; length];
            client.read_exact(&mut bytes).unwrap();
            bytes
        };
        let request = read(5);
        assert_eq!(request[..4], [5, 1, 0, 3], "a name, which it resolves");
        let name = String::from_utf8(read(request[4].into())).unwrap();
        let port = read(2);
        let port = u16::from_be_bytes([port[0], port[1]]);
        heads.0.lock().unwrap().push(format!("{name}:{port}"));
        let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        relay(client, server);
    });
    (port, heads)
}
