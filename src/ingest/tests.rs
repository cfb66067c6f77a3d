//! Tests senders of all kinds over real sockets.
#![allow(clippy::unwrap_used, clippy::panic)]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::*;
use crate::ts::{SYNC_BYTE, TS_PACKET_BYTES};

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Accepted,
    Left(String),
    Refused(String),
}

struct Log(UnboundedSender<Event>);

impl Observer for Log {
    fn accepted(&mut self, _sender: SocketAddr, _discarded_bytes: usize) {
        self.0.send(Event::Accepted).unwrap();
    }
    fn received(&mut self, _bytes: u64) {}
    fn left(&mut self, _sender: SocketAddr, why: &Leaving) {
        self.0.send(Event::Left(format!("{why:?}"))).unwrap();
    }
    fn refused(&mut self, _sender: SocketAddr, why: &str) {
        self.0.send(Event::Refused(why.to_owned())).unwrap();
    }
}

struct TestServer {
    address: SocketAddr,
    events: mpsc::UnboundedReceiver<Event>,
    recorded: mpsc::Receiver<Chunk>,
    end: Option<oneshot::Sender<()>>,
    accepting: watch::Sender<bool>,
    run: tokio::task::JoinHandle<Result<()>>,
}

async fn listen(once: bool) -> TestServer {
    listen_with(Options { once, ..Options::default() }).await
}

async fn listen_with(options: Options) -> TestServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (log, events) = mpsc::unbounded_channel();
    let (recorder, recorded) = mpsc::channel(QUEUED_CHUNKS);
    let (end, ended) = oneshot::channel();
    let (accepting, accepts) = watch::channel(true);
    let run = tokio::spawn(async move {
        let shutdown = async { drop(ended.await) };
        run(listener, None, recorder, &options, &mut Log(log), accepts, shutdown).await
    });
    TestServer { address, events, recorded, end: Some(end), accepting, run }
}

fn packets(count: usize) -> Vec<u8> {
    let mut packet = [7; TS_PACKET_BYTES];
    packet[..4].copy_from_slice(&[SYNC_BYTE, 0x1f, 0xff, 0x10]);
    packet.repeat(count)
}

/// Returns the recorded bytes of one connection.
async fn recorded(server: &mut TestServer) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match server.recorded.recv().await.unwrap() {
            Chunk::Bytes(bytes) => all.extend(bytes),
            Chunk::EndOfConnection => return all,
        }
    }
}

#[tokio::test]
async fn what_is_sent_is_recorded_from_the_first_packet_on() {
    let mut server = listen(true).await;
    let mut sender = TcpStream::connect(server.address).await.unwrap();
    let bytes = packets(5000);
    sender.write_all(&[b"junk".to_vec(), bytes.clone()].concat()).await.unwrap();
    drop(sender);
    assert_eq!(recorded(&mut server).await, bytes);
    server.run.await.unwrap().unwrap();
}

#[tokio::test]
async fn port_scans_and_http_are_refused_keep_nobody_out_and_do_not_end_once() {
    let mut server = listen(true).await;
    // One connection stays silent, one closes at once.
    let _silent = TcpStream::connect(server.address).await.unwrap();
    drop(TcpStream::connect(server.address).await.unwrap());
    let mut http = TcpStream::connect(server.address).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    drop(http);
    assert!(
        matches!(server.events.recv().await.unwrap(), Event::Refused(why) if why.contains("not MPEG-TS"))
    );
    let mut sender = TcpStream::connect(server.address).await.unwrap();
    sender.write_all(&packets(2)).await.unwrap();
    drop(sender);
    assert_eq!(recorded(&mut server).await, packets(2));
    server.run.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_second_sender_is_refused_while_one_is_connected() {
    let mut server = listen(false).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(&packets(10)).await.unwrap();
    assert_eq!(server.events.recv().await.unwrap(), Event::Accepted);
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert!(matches!(server.events.recv().await.unwrap(), Event::Refused(_)));
    assert_eq!(second.read(&mut [0]).await.unwrap_or(0), 0, "closed at once");
    drop(first);
    assert_eq!(server.events.recv().await.unwrap(), Event::Left("Left".into()));
    assert_eq!(recorded(&mut server).await, packets(10));
    let mut third = TcpStream::connect(server.address).await.unwrap();
    third.write_all(&packets(10)).await.unwrap();
    assert_eq!(server.events.recv().await.unwrap(), Event::Accepted);
    server.end.take().unwrap().send(()).unwrap();
    server.run.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_sender_that_comes_back_at_once_is_not_refused_for_its_own_old_connection() {
    let mut server = listen(false).await;
    let connect = async |address| {
        let mut sender = TcpStream::connect(address).await.unwrap();
        sender.write_all(&packets(100)).await.unwrap();
        sender
    };
    let mut sender = connect(server.address).await;
    for _ in 0..100 {
        assert_eq!(server.events.recv().await.unwrap(), Event::Accepted);
        drop(sender);
        sender = connect(server.address).await;
        assert_eq!(recorded(&mut server).await, packets(100));
        assert_eq!(server.events.recv().await.unwrap(), Event::Left("Left".into()));
    }
    server.end.take().unwrap().send(()).unwrap();
    server.run.await.unwrap().unwrap();
}

#[tokio::test]
async fn with_takeover_the_newest_sender_that_sends_mpeg_ts_wins() {
    let options = Options { takeover: true, ..Options::default() };
    let mut server = listen_with(options).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(&packets(10)).await.unwrap();
    assert_eq!(server.events.recv().await.unwrap(), Event::Accepted);
    let mut scan = TcpStream::connect(server.address).await.unwrap();
    scan.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    drop(scan);
    assert!(
        matches!(server.events.recv().await.unwrap(), Event::Refused(_)),
        "it does not take over"
    );
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(&packets(20)).await.unwrap();
    assert!(
        matches!(server.events.recv().await.unwrap(), Event::Left(why) if why.contains("TakenOver"))
    );
    assert_eq!(server.events.recv().await.unwrap(), Event::Accepted);
    assert_eq!(first.read(&mut [0]).await.unwrap_or(0), 0, "the old connection is closed");
    assert_eq!(recorded(&mut server).await, packets(10));
    drop(second);
    assert_eq!(recorded(&mut server).await, packets(20));
}

#[tokio::test]
async fn a_sender_that_is_silent_for_too_long_is_one_no_more_whoever_knocks_meanwhile() {
    let limit = Duration::from_millis(100);
    let mut server = listen_with(Options { idle_timeout: Some(limit), ..Options::default() }).await;
    let mut sender = TcpStream::connect(server.address).await.unwrap();
    sender.write_all(&packets(10)).await.unwrap();
    assert_eq!(server.events.recv().await.unwrap(), Event::Accepted);
    let left = loop {
        drop(TcpStream::connect(server.address).await.unwrap());
        match server.events.recv().await.unwrap() {
            Event::Refused(_) => {}
            other => break other,
        }
    };
    assert_eq!(left, Event::Left("Silent(100ms)".into()));
    assert_eq!(sender.read(&mut [0]).await.unwrap_or(0), 0, "closed");
}

#[tokio::test]
async fn only_networks_that_are_allowed_may_connect() {
    let allow = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let options = Options { allow: allow.clone(), ..Options::default() };
    for (address, allowed) in
        [("192.0.2.7:1", true), ("[::ffff:192.0.2.7]:1", true), ("[2001:db8::1]:1", true)]
            .into_iter()
            .chain([("192.0.3.1:1", false), ("127.0.0.1:1", false), ("[::1]:1", false)])
    {
        assert_eq!(options.allows(address.parse().unwrap()), allowed, "{address}");
    }
    let mut server = listen_with(options).await;
    let mut sender = TcpStream::connect(server.address).await.unwrap();
    assert!(
        matches!(server.events.recv().await.unwrap(), Event::Refused(why) if why.contains("--allow"))
    );
    assert_eq!(sender.read(&mut [0]).await.unwrap_or(0), 0, "closed at once");
}

#[tokio::test]
async fn while_nothing_can_be_recorded_nobody_is_a_sender_and_nothing_received_is_lost() {
    let mut server = listen(true).await;
    let mut sender = TcpStream::connect(server.address).await.unwrap();
    sender.write_all(&packets(10)).await.unwrap();
    assert_eq!(server.events.recv().await.unwrap(), Event::Accepted);
    server.accepting.send_replace(false);
    assert_eq!(server.events.recv().await.unwrap(), Event::Left("NotRecorded".into()));
    assert_eq!(sender.read(&mut [0]).await.unwrap_or(0), 0, "closed at once");
    let refused = TcpStream::connect(server.address).await.unwrap();
    assert!(matches!(server.events.recv().await.unwrap(), Event::Refused(_)));
    drop(refused);
    server.accepting.send_replace(true);
    assert_eq!(recorded(&mut server).await, packets(10));
    let mut sender = TcpStream::connect(server.address).await.unwrap();
    sender.write_all(&packets(20)).await.unwrap();
    drop(sender);
    assert_eq!(recorded(&mut server).await, packets(20));
    server.run.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_recorder_that_takes_nothing_keeps_neither_the_end_nor_newcomers_waiting() {
    let mut server = listen(false).await;
    let mut sender = TcpStream::connect(server.address).await.unwrap();
    let flood = tokio::spawn(async move {
        let bytes = packets(1000);
        while sender.write_all(&bytes).await.is_ok() {}
    });
    assert_eq!(server.events.recv().await.unwrap(), Event::Accepted);
    while server.recorded.len() < QUEUED_CHUNKS {
        tokio::task::yield_now().await;
    }
    let _second = TcpStream::connect(server.address).await.unwrap();
    assert!(matches!(server.events.recv().await.unwrap(), Event::Refused(_)));
    server.end.take().unwrap().send(()).unwrap();
    assert_eq!(server.events.recv().await.unwrap(), Event::Left("Shutdown".into()));
    flood.await.unwrap();
    assert!(recorded(&mut server).await.len() >= QUEUED_CHUNKS);
    server.run.await.unwrap().unwrap();
}

#[tokio::test]
async fn however_many_are_silent_a_sender_is_heard() {
    let mut server = listen(true).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut sender = TcpStream::connect(server.address).await.unwrap();
    sender.write_all(&packets(10)).await.unwrap();
    drop(sender);
    assert_eq!(recorded(&mut server).await, packets(10));
    server.run.await.unwrap().unwrap();
    let remaining = std::iter::from_fn(|| server.events.try_recv().ok());
    let evicted =
        remaining.filter(|event| matches!(event, Event::Refused(why) if why.contains("place")));
    assert!(evicted.count() >= 200, "the oldest are evicted");
}

#[tokio::test]
async fn a_sender_that_comes_back_while_its_old_connection_is_still_read_is_not_refused() {
    let mut server = listen(false).await;
    let mut sender = TcpStream::connect(server.address).await.unwrap();
    sender.set_nodelay(true).unwrap();
    // The writer accepts nothing until its queue is full and more bytes wait to be read.
    let mut sent = 0;
    while server.recorded.len() < QUEUED_CHUNKS {
        sender.write_all(&packets(10)).await.unwrap();
        sent += 10;
        tokio::task::yield_now().await;
    }
    sender.write_all(&packets(20)).await.unwrap();
    drop(sender);
    let mut again = TcpStream::connect(server.address).await.unwrap();
    again.write_all(&packets(10)).await.unwrap();
    assert_eq!(recorded(&mut server).await, packets(sent + 20));
    let mut events = Vec::new();
    while events.len() < 3 {
        events.push(server.events.recv().await.unwrap());
    }
    assert_eq!(events, [Event::Accepted, Event::Left("Left".into()), Event::Accepted]);
    server.end.take().unwrap().send(()).unwrap();
    server.run.await.unwrap().unwrap();
}
