//! Securing pipes between honest nodes, and with those that show nothing, too much, or what is not theirs.

use futures_util::{AsyncReadExt, AsyncWriteExt};
use rstest::rstest;
use rustls::client::ResolvesClientCert;
use rustls::sign::SigningKey;
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::*;

type End = Secured<Compat<DuplexStream>>;
type Outcome = Result<(PeerId, End), SecurityError>;

fn keypair(seed: u8) -> Keypair {
    Keypair::ed25519_from_bytes([seed; 32]).unwrap()
}

fn peer(seed: u8) -> PeerId {
    keypair(seed).public().to_peer_id()
}

fn security(seed: u8) -> Security {
    Security::new(&keypair(seed)).unwrap()
}

async fn meet(dialling: Security, accepting: Security, name: &'static str) -> (Outcome, Outcome) {
    let (near, far) = tokio::io::duplex(100_000);
    let dialled = dialling.upgrade_outbound(near.compat(), name);
    tokio::join!(dialled, accepting.upgrade_inbound(far.compat(), name))
}

/// What a dialler learns only once it reads: with TLS 1.3 it has ended before its own certificate is looked at.
async fn first_byte(end: &mut End) -> io::Result<u8> {
    let mut byte = [0];
    end.read_exact(&mut byte).await.map(|()| byte[0])
}

#[rstest]
#[tokio::test]
async fn both_ends_learn_whose_key_the_other_has(#[values(TLS, NOISE)] name: &'static str) {
    let (dialled, accepted) = meet(security(1), security(2), name).await;
    let ((told_near, mut near), (told_far, mut far)) = (dialled.unwrap(), accepted.unwrap());
    assert_eq!((told_near, told_far), (peer(2), peer(1)));
    let sent: Vec<u8> = (0..500_000_u32).map(|at| (at % 251) as u8).collect();
    let sending = async {
        near.write_all(&sent).await.unwrap();
        near.close().await.unwrap();
    };
    let mut came = Vec::new();
    let (_, read) = tokio::join!(sending, far.read_to_end(&mut came));
    read.unwrap();
    assert!(came == sent);
}

#[test]
fn tls_is_offered_before_noise() {
    assert_eq!(security(1).protocol_info().collect::<Vec<_>>(), ["/tls/1.0.0", "/noise"]);
}

#[tokio::test]
async fn the_cipher_is_the_fastest_of_the_dialler() {
    let (dialled, _accepted) = meet(security(1), security(2), TLS).await;
    let Either::Left(stream) = dialled.unwrap().1.into_inner() else { panic!("not TLS") };
    let state = stream.get_ref().1;
    assert_eq!(state.negotiated_cipher_suite(), suites(has_aes()).first().copied());
    assert_eq!(state.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(suites(true)[0].suite(), rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    assert_eq!(suites(false)[0].suite(), rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    assert_eq!(suites(false).len(), 3);
}

/// Shows a certificate and signs with a key that need not be its own.
#[derive(Debug)]
struct Shows(Option<Arc<CertifiedKey>>);

impl rustls::server::ResolvesServerCert for Shows {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

fn showing(shows: Option<(Vec<CertificateDer<'static>>, Arc<dyn SigningKey>)>) -> Security {
    let shows = shows.map(|(certificates, key)| Arc::new(CertifiedKey::new(certificates, key)));
    let shows = Arc::new(Shows(shows));
    let mut one = security(9);
    let mut accepting = ServerConfig::clone(&one.accepting);
    let mut dialling = ClientConfig::clone(&one.dialling);
    accepting.cert_resolver = shows.clone();
    dialling.client_auth_cert_resolver = shows;
    (one.accepting, one.dialling) = (Arc::new(accepting), Arc::new(dialling));
    one
}

fn certificate(seed: u8) -> (CertificateDer<'static>, Arc<dyn SigningKey>) {
    let (certificate, key) = certificate::generate(&keypair(seed)).unwrap();
    (certificate, aws_lc_rs::sign::any_ecdsa_type(&key).unwrap())
}

/// Neither side of an honest node ends the handshake with what `other` shows.
async fn is_refused(other: Security, what: &str) {
    let (dialled, _) = meet(security(1), other.clone(), TLS).await;
    assert!(matches!(dialled, Err(SecurityError::Tls(_))), "dialled {what}");
    let (dialled, accepted) = meet(other, security(1), TLS).await;
    assert!(matches!(accepted, Err(SecurityError::Tls(_))), "accepted {what}");
    if let Ok((_, mut end)) = dialled {
        assert!(first_byte(&mut end).await.is_err(), "let {what} go on");
    }
}

#[tokio::test]
async fn who_does_not_prove_a_key_is_refused() {
    let ((theirs, their_key), (own, own_key)) = (certificate(2), certificate(3));
    let whole = showing(Some((vec![theirs.clone()], their_key)));
    let (dialled, accepted) = meet(security(1), whole, TLS).await;
    assert!(
        dialled.is_ok_and(|(peer_id, _)| peer_id == peer(2)) && accepted.is_ok(),
        "the test's own node works"
    );
    is_refused(showing(None), "nothing").await;
    is_refused(showing(Some((vec![theirs.clone()], own_key.clone()))), "another's certificate").await;
    is_refused(showing(Some((vec![own, theirs], own_key))), "two certificates").await;
}

#[tokio::test]
async fn a_certificate_that_was_changed_names_nobody_else() {
    let (own, key) = certificate(3);
    let mut refused = 0;
    for at in 0..own.len() {
        let mut bytes = own.to_vec();
        bytes[at] ^= 1;
        let (dialled, _) = meet(security(1), showing(Some((vec![bytes.into()], key.clone()))), TLS).await;
        match dialled {
            // Some bytes are under no signature, and say nothing.
            Ok((told, _)) => assert_eq!(told, peer(3), "byte {at}"),
            Err(error) => {
                assert!(matches!(error, SecurityError::Tls(_)), "byte {at}: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > own.len() * 9 / 10, "{refused} of {}", own.len());
}
