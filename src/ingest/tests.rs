//! Senders of all kinds, over real sockets.
#![allow(clippy::unwrap_used, clippy::panic)]

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::*;
use crate::media::{SYNC_BYTE, TS_PACKET_BYTES};

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Accepted,
    Left,
    Refused(String),
}

struct Log(UnboundedSender<Seen>);

impl Observer for Log {
    fn accepted(&mut self, _sender: SocketAddr) {
        self.0.send(Seen::Accepted).unwrap();
    }
    fn received(&mut self, _bytes: u64) {}
    fn left(&mut self, _sender: SocketAddr, _broken: Option<std::io::Error>) {
        self.0.send(Seen::Left).unwrap();
    }
    fn refused(&mut self, _sender: SocketAddr, why: &str) {
        self.0.send(Seen::Refused(why.to_owned())).unwrap();
    }
}

struct World {
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    recorded: mpsc::Receiver<Chunk>,
    end: oneshot::Sender<()>,
    run: tokio::task::JoinHandle<Result<()>>,
}

async fn listen(once: bool) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (log, seen) = mpsc::unbounded_channel();
    let (recorder, recorded) = mpsc::channel(QUEUED_CHUNKS);
    let (end, ended) = oneshot::channel();
    let run = tokio::spawn(async move {
        let shutdown = async { drop(ended.await) };
        run(listener, recorder, Options { once }, &mut Log(log), shutdown).await
    });
    World { address, seen, recorded, end, run }
}

fn packets(count: usize) -> Vec<u8> {
    let mut packet = [7; TS_PACKET_BYTES];
    packet[..4].copy_from_slice(&[SYNC_BYTE, 0x1f, 0xff, 0x10]);
    packet.repeat(count)
}

/// What is recorded of one connection.
async fn recorded(world: &mut World) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match world.recorded.recv().await.unwrap() {
            Chunk::Bytes(bytes) => all.extend(bytes),
            Chunk::EndOfConnection => return all,
        }
    }
}

#[tokio::test]
async fn what_is_sent_is_recorded_from_the_first_packet_on() {
    let mut world = listen(true).await;
    let mut sender = TcpStream::connect(world.address).await.unwrap();
    let bytes = packets(5000);
    sender.write_all(&[b"junk".to_vec(), bytes.clone()].concat()).await.unwrap();
    drop(sender);
    assert_eq!(recorded(&mut world).await, bytes);
    world.run.await.unwrap().unwrap();
}

#[tokio::test]
async fn port_scans_and_http_are_refused_keep_nobody_out_and_do_not_end_once() {
    let mut world = listen(true).await;
    // One that stays and says nothing, and one that is gone at once.
    let _silent = TcpStream::connect(world.address).await.unwrap();
    drop(TcpStream::connect(world.address).await.unwrap());
    let mut http = TcpStream::connect(world.address).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    drop(http);
    assert!(
        matches!(world.seen.recv().await.unwrap(), Seen::Refused(why) if why.contains("not MPEG-TS"))
    );
    let mut sender = TcpStream::connect(world.address).await.unwrap();
    sender.write_all(&packets(2)).await.unwrap();
    drop(sender);
    assert_eq!(recorded(&mut world).await, packets(2));
    world.run.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_second_sender_is_refused_while_one_is_connected() {
    let mut world = listen(false).await;
    let mut first = TcpStream::connect(world.address).await.unwrap();
    first.write_all(&packets(10)).await.unwrap();
    assert_eq!(world.seen.recv().await.unwrap(), Seen::Accepted);
    let mut second = TcpStream::connect(world.address).await.unwrap();
    assert!(matches!(world.seen.recv().await.unwrap(), Seen::Refused(_)));
    assert_eq!(second.read(&mut [0]).await.unwrap_or(0), 0, "it is closed at once");
    drop(first);
    assert_eq!(world.seen.recv().await.unwrap(), Seen::Left);
    assert_eq!(recorded(&mut world).await, packets(10));
    let mut third = TcpStream::connect(world.address).await.unwrap();
    third.write_all(&packets(10)).await.unwrap();
    assert_eq!(world.seen.recv().await.unwrap(), Seen::Accepted);
    world.end.send(()).unwrap();
    world.run.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_sender_that_comes_back_at_once_is_not_refused_for_its_own_old_connection() {
    let mut world = listen(false).await;
    let connect = async |address| {
        let mut sender = TcpStream::connect(address).await.unwrap();
        sender.write_all(&packets(100)).await.unwrap();
        sender
    };
    let mut sender = connect(world.address).await;
    for _ in 0..100 {
        assert_eq!(world.seen.recv().await.unwrap(), Seen::Accepted);
        drop(sender);
        sender = connect(world.address).await;
        assert_eq!(recorded(&mut world).await, packets(100));
        assert_eq!(world.seen.recv().await.unwrap(), Seen::Left);
    }
    world.end.send(()).unwrap();
    world.run.await.unwrap().unwrap();
}
