//! TLS, with ffmpeg and with a separate client as senders. Each test creates new certificates.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::common::{DEADLINE, Recorder, assert_golden, fixture, has, index, scenetap, send_bytes};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustix::process::Signal;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, version,
};

const CLIP: &str = "bbb_h264_resolution_change";
const SIGNED: [&str; 3] = ["server", "client", "expired"];

/// A folder of certificates: `ca.pem`, `other-ca.pem`, and for each name `NAME.pem` and
/// `NAME.key`, issued by `ca`. `stranger.pem` is issued by `other-ca`.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Certificates {
        let certificates = Certificates(tempfile::tempdir().unwrap());
        let ours = certificates.authority("ca");
        for name in SIGNED {
            certificates.sign(name, &ours);
        }
        certificates.sign("stranger", &certificates.authority("other-ca"));
        certificates
    }

    fn authority(&self, name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        self.write(&format!("{name}.pem"), &issuer.pem());
        issuer
    }

    fn sign(&self, name: &str, issuer: &CertifiedIssuer<'_, KeyPair>) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        if name == "expired" {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        self.write(&format!("{name}.pem"), &params.signed_by(&key, issuer).unwrap().pem());
        let path = self.write(&format!("{name}.key"), &key.serialize_pem());
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn arg(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Starts a recorder with TLS.
    fn recorder(&self, arguments: &[&str]) -> Recorder {
        self.recorder_of("s", arguments)
    }

    fn recorder_of(&self, session: &str, arguments: &[&str]) -> Recorder {
        let (cert, key) = (self.arg("server.pem"), self.arg("server.key"));
        let tls = ["-v", "--tls-cert", &cert, "--tls-key", &key];
        // The address in the certificates.
        let arguments = [&tls, arguments].concat();
        Recorder::start_at("127.0.0.1:0", self.0.path(), session, &arguments)
    }

    /// Starts a recorder that requires certificates of `ca`.
    fn strict_recorder(&self) -> Recorder {
        self.recorder(&["--tls-client-ca", &self.arg("ca.pem")])
    }

    /// Connects a sender that trusts `ca`, with or without its own certificate.
    fn connect(
        &self,
        recorder: &Recorder,
        identity: Option<&str>,
        version: &'static SupportedProtocolVersion,
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(name) => {
                let cert = self.path(&format!("{name}.pem"));
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(&recorder.address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket)
    }
}

fn clip() -> Vec<u8> {
    std::fs::read(fixture(CLIP)).unwrap()
}

/// Sends all bytes, then close_notify.
fn send_and_close(mut sender: StreamOwned<ClientConnection, TcpStream>, bytes: &[u8]) {
    sender.write_all(bytes).unwrap();
    sender.conn.send_close_notify();
    sender.flush().unwrap();
}

fn assert_nothing_recorded(recorder: Recorder, log_end: &str) {
    let recording = recorder.recording();
    let log = recorder.end_by_signal();
    assert!(log.iter().any(|line| line.ends_with(log_end)), "{log:?}");
    assert_eq!(std::fs::metadata(recording).unwrap().len(), 0);
}

#[test]
fn what_is_sent_over_tls_is_recorded_byte_for_byte() {
    let certificates = Certificates::new();
    let bytes = clip();
    let recorder = certificates.recorder(&[]);
    let half = bytes.len() / 2 / 188 * 188;
    send_and_close(certificates.connect(&recorder, None, &version::TLS13), &bytes[..half]);
    recorder.wait_for("has left");
    // Like older senders.
    send_and_close(certificates.connect(&recorder, None, &version::TLS12), &bytes[half..]);
    recorder.wait_for("has left");
    let (recording, session) = (recorder.recording(), recorder.session.clone());
    recorder.end_by_signal();
    assert!(std::fs::read(recording).unwrap() == bytes);
    assert_golden(CLIP, "frames", &index(&session));
}

#[test]
fn a_sender_that_leaves_without_close_notify_has_broken_off_and_what_came_counts() {
    let certificates = Certificates::new();
    let bytes = clip();
    let recorder = certificates.recorder(&["--once"]);
    let recording = recorder.recording();
    let mut sender = certificates.connect(&recorder, None, &version::TLS13);
    sender.write_all(&bytes).unwrap();
    drop(sender);
    recorder.wait_for("broke: closed without TLS close_notify");
    assert!(recorder.end().0.success());
    assert!(std::fs::read(recording).unwrap() == bytes);
}

#[test]
fn what_was_on_its_way_when_the_sender_closed_is_recorded() {
    let certificates = Certificates::new();
    // More than the recorder's system buffers, less than the sender's.
    let bytes = &std::fs::read(fixture("bbb_mpeg2_576i25_tff")).unwrap()[..188 * 3000];
    for close in [true, false] {
        let session = if close { "closed" } else { "dropped" };
        let recorder = certificates.recorder_of(session, &["--once"]);
        let recording = recorder.recording();
        let mut sender = certificates.connect(&recorder, None, &version::TLS13);
        sender.sock.set_write_timeout(Some(DEADLINE)).unwrap();
        sender.write_all(&bytes[..188 * 10]).unwrap();
        recorder.wait_for("is connected");
        recorder.signal(Signal::STOP);
        // If a sender closes with unread data, the connection is reset and data in
        // transit is lost: nothing may have been written to it after the handshake.
        if close {
            send_and_close(sender, &bytes[188 * 10..]);
        } else {
            sender.write_all(&bytes[188 * 10..]).unwrap();
            drop(sender);
        }
        recorder.signal(Signal::CONT);
        assert!(recorder.end().0.success());
        assert!(std::fs::read(recording).unwrap() == bytes, "{session}");
    }
}

#[test]
fn whoever_lacks_the_certificate_that_is_wanted_is_refused_told_why_and_not_recorded() {
    let certificates = Certificates::new();
    let recorder = certificates.strict_recorder();
    for version in [&version::TLS12, &version::TLS13] {
        for (identity, reason) in [
            (None, "it has no certificate, which --tls-client-ca requires"),
            (Some("stranger"), "its certificate is not issued by an authority of --tls-client-ca"),
            (Some("expired"), "its certificate has expired"),
        ] {
            let mut sender = certificates.connect(&recorder, identity, version);
            // Depending on when the refusal arrives, nothing may be sent at all.
            let _ = sender.write_all(&clip());
            recorder.wait_for(reason);
            assert!(!matches!(sender.read(&mut [0]), Ok(1..)));
        }
    }
    assert_nothing_recorded(recorder, "; 6 connections refused");
}

#[test]
fn a_sender_with_the_right_certificate_is_recorded() {
    let certificates = Certificates::new();
    let bytes = clip();
    let recorder = certificates.strict_recorder();
    send_and_close(certificates.connect(&recorder, Some("client"), &version::TLS13), &bytes);
    recorder.wait_for("has left");
    let recording = recorder.recording();
    recorder.end_by_signal();
    assert!(std::fs::read(recording).unwrap() == bytes);
}

#[test]
fn plain_tcp_to_a_tls_port_and_tls_to_a_plain_one_are_refused_at_once() {
    let certificates = Certificates::new();
    let recorder = certificates.recorder(&[]);
    let mut sender = TcpStream::connect(&recorder.address).unwrap();
    // The connection may be closed already.
    let _ = sender.write_all(&clip());
    recorder.wait_for("it does not use TLS");
    // Begins like TLS, and stays open.
    let mut sender = TcpStream::connect(&recorder.address).unwrap();
    sender.write_all(&[22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).unwrap();
    recorder.wait_for("it sends invalid TLS");
    assert_nothing_recorded(recorder, "; 2 connections refused");

    let recorder = Recorder::start(certificates.0.path(), "plain", &[]);
    let mut sender = certificates.connect(&recorder, None, &version::TLS13);
    assert!(sender.write_all(&clip()).is_err());
    recorder.wait_for("it uses TLS, and --tls-cert is not set");
    assert_nothing_recorded(recorder, "; 1 connection refused");
}

#[test]
fn what_is_no_mpeg_ts_is_refused_inside_tls_too() {
    let certificates = Certificates::new();
    let recorder = certificates.recorder(&[]);
    let sender = certificates.connect(&recorder, None, &version::TLS13);
    send_and_close(sender, b"GET / HTTP/1.1\r\n\r\n");
    recorder.wait_for("not MPEG-TS");
    assert_nothing_recorded(recorder, "; 1 connection refused");
}

#[test]
fn a_handshake_that_never_ends_keeps_nobody_out() {
    let certificates = Certificates::new();
    let bytes = clip();
    let recorder = certificates.recorder(&["--once"]);
    let recording = recorder.recording();
    let stalled: Vec<_> = (0..100)
        .map(|number| {
            let mut socket = TcpStream::connect(&recorder.address).unwrap();
            socket.write_all(&[22, 3, 1, 2, 0, 1][..number % 7]).unwrap();
            socket
        })
        .collect();
    send_and_close(certificates.connect(&recorder, None, &version::TLS13), &bytes);
    assert!(recorder.end().0.success());
    assert!(std::fs::read(recording).unwrap() == bytes);
    drop(stalled);
}

#[test]
fn with_senders_certificates_wanted_listening_beyond_loopback_needs_no_warning() {
    let certificates = Certificates::new();
    let paths = ["server.pem", "server.key", "ca.pem"].map(|name| certificates.arg(name));
    let [cert, key, ca] = &paths;
    for (more, warnings) in [(&[][..], 1), (&["--tls-client-ca", ca], 0)] {
        let arguments = [&["--tls-cert", cert, "--tls-key", key], more].concat();
        let recorder = Recorder::start_at("0.0.0.0:0", certificates.0.path(), "s", &arguments);
        let log = recorder.end_by_signal();
        assert_eq!(log.iter().filter(|line| line.contains("WARN")).count(), warnings, "{log:?}");
    }
}

/// Runs `record` with these options; returns its status and its output.
fn run_refused(sessions: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let record = scenetap()
        .args(["record", "--listen", "127.0.0.1:0", "--sessions-dir"])
        .arg(sessions)
        .args(arguments)
        .output()
        .unwrap();
    (record.status.code(), String::from_utf8(record.stderr).unwrap())
}

#[test]
fn files_that_are_no_good_are_one_line_that_names_them_and_leave_no_session() {
    let certificates = Certificates::new();
    certificates.write("empty.pem", "");
    certificates.write("torn.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    certificates
        .write("garbage.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    certificates.write("encrypted.key", encrypted);
    certificates
        .write("garbage.key", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n");
    std::fs::create_dir(certificates.path("folder")).unwrap();
    let sessions = certificates.path("sessions");
    for (cert, key, ca, file, reason) in [
        ("none.pem", "server.key", "ca.pem", "none.pem", "cannot read it: No such file"),
        ("folder", "server.key", "ca.pem", "folder", "cannot read it: Is a directory"),
        ("empty.pem", "server.key", "ca.pem", "empty.pem", "contains no certificate"),
        ("server.key", "server.key", "ca.pem", "server.key", "contains no certificate"),
        ("torn.pem", "server.key", "ca.pem", "torn.pem", "cannot be read as PEM"),
        ("garbage.pem", "server.key", "ca.pem", "garbage.pem", "certificate cannot be used"),
        ("server.pem", "none.key", "ca.pem", "none.key", "cannot read it: No such file"),
        ("server.pem", "folder", "ca.pem", "folder", "cannot read it: Is a directory"),
        ("server.pem", "empty.pem", "ca.pem", "empty.pem", "contains no private key"),
        ("server.pem", "server.pem", "ca.pem", "server.pem", "contains no private key"),
        ("server.pem", "encrypted.key", "ca.pem", "encrypted.key", "PEM, not encrypted"),
        ("server.pem", "garbage.key", "ca.pem", "garbage.key", "the private key cannot be used"),
        ("server.pem", "client.key", "ca.pem", "client.key", "does not belong to the certificate"),
        ("server.pem", "server.key", "none.pem", "none.pem", "cannot read it: No such file"),
        ("server.pem", "server.key", "empty.pem", "empty.pem", "contains no certificate"),
        ("server.pem", "server.key", "garbage.pem", "garbage.pem", "certificate cannot be used"),
    ] {
        let [cert, key, ca, file] = [cert, key, ca, file].map(|name| certificates.arg(name));
        let arguments = ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
        let (status, message) = run_refused(&sessions, &arguments);
        assert_eq!(status, Some(1), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(
            message.contains(&format!("{file}: ")) && message.contains(reason),
            "{reason}: {message}"
        );
    }
    for alone in ["--tls-key", "--tls-client-ca"] {
        let (status, message) = run_refused(&sessions, &[alone, &certificates.arg("server.key")]);
        assert_eq!(status, Some(2), "{message}");
        assert!(
            message.lines().count() == 1 && message.contains("requires --tls-cert"),
            "{message}"
        );
    }
    assert!(!sessions.exists());
}

#[test]
fn a_private_key_that_everybody_can_read_is_warned_of() {
    let certificates = Certificates::new();
    let both = ["server.key", "server.pem"].map(|name| certificates.path(name));
    let both = both.map(|path| std::fs::read_to_string(path).unwrap()).concat();
    let path = certificates.write("both.pem", &both);
    for (mode, expected) in [(0o600, false), (0o640, false), (0o604, true)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let authority = certificates.arg("none.pem");
        let arguments = ["--tls-cert", path.to_str().unwrap(), "--tls-client-ca", &authority];
        // It fails at the file that it reads last.
        let (status, message) = run_refused(&certificates.path("sessions"), &arguments);
        assert!(status == Some(1) && message.contains("none.pem: cannot read it"), "{message}");
        assert_eq!(
            message.contains("this private key can be read by all users"),
            expected,
            "{message}"
        );
    }
}

/// Returns whether ffmpeg is installed and supports TLS. Skips the test if not.
fn has_ffmpeg_with_tls() -> bool {
    if !has("ffmpeg") {
        return false;
    }
    let protocols = Command::new("ffmpeg").args(["-v", "quiet", "-protocols"]).output().unwrap();
    let supported =
        String::from_utf8_lossy(&protocols.stdout).lines().any(|line| line.trim() == "tls");
    if !supported {
        scenetap_testkit::lacks_tool("this ffmpeg was built without TLS");
    }
    supported
}

/// Runs ffmpeg as the sender, with additional TLS options.
fn ffmpeg(recorder: &Recorder, options: &[&str]) -> bool {
    let sent = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(fixture("bbb_mpeg2_576i25_tff"))
        .args(["-c", "copy", "-f", "mpegts"])
        .args(options)
        .arg(format!("tls://{}", recorder.address))
        .status();
    sent.unwrap().success()
}

#[test]
fn ffmpeg_sends_over_tls_and_what_it_sends_is_recorded_to_its_end() {
    if !has_ffmpeg_with_tls() {
        return;
    }
    let certificates = Certificates::new();
    let recorder = certificates.recorder(&["--once"]);
    let recording = recorder.recording();
    assert!(ffmpeg(&recorder, &["-tls_verify", "1", "-ca_file", &certificates.arg("ca.pem")]));
    recorder.wait_for("has left");
    let (status, frames) = recorder.end();
    assert!(status.success());
    assert_golden("bbb_mpeg2_576i25_tff", "frames", &frames);
    // The output that ffmpeg writes to a file, byte for byte.
    let file = certificates.path("plain.ts");
    let plain = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(fixture("bbb_mpeg2_576i25_tff"))
        .args(["-c", "copy", "-f", "mpegts"])
        .arg(&file)
        .status();
    assert!(plain.unwrap().success());
    assert!(std::fs::read(recording).unwrap() == std::fs::read(file).unwrap());
}

#[test]
fn ffmpeg_is_refused_without_the_certificate_that_is_wanted_and_recorded_with_it() {
    if !has_ffmpeg_with_tls() {
        return;
    }
    let certificates = Certificates::new();
    let recorder = certificates.strict_recorder();
    ffmpeg(&recorder, &["-ca_file", &certificates.arg("ca.pem")]);
    recorder.wait_for("it has no certificate, which --tls-client-ca requires");
    send_bytes(&recorder.address, b"no TLS");
    recorder.wait_for("it does not use TLS");
    assert_eq!(std::fs::metadata(recorder.recording()).unwrap().len(), 0);
    let (cert, key) = (certificates.arg("client.pem"), certificates.arg("client.key"));
    // Newer versions verify the recorder's certificate by default.
    let ours = certificates.arg("ca.pem");
    assert!(ffmpeg(&recorder, &["-ca_file", &ours, "-cert_file", &cert, "-key_file", &key]));
    recorder.wait_for("has left");
    let session = recorder.session.clone();
    recorder.end_by_signal();
    assert_golden("bbb_mpeg2_576i25_tff", "frames", &index(&session));
}
