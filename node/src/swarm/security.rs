//! How a connection proves who its ends are and keeps what they say to itself: TLS 1.3 as libp2p defines it, or noise
//! with a peer that knows no TLS.
//!
//! The certificates are the library's. The settings are not: its own prefer `ChaCha20`, and with processors that have
//! instructions for AES the cipher would take half of the time of a transfer.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use futures_util::future::{BoxFuture, Either, FutureExt};
use futures_util::io::BufReader;
use futures_util::{AsyncRead, AsyncWrite};
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::tls::certificate;
use libp2p::{PeerId, noise};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    SupportedCipherSuite,
};

use super::gathered::Gathered;

const TLS: &str = "/tls/1.0.0";
const NOISE: &str = "/noise";
const ALPN: &[u8] = b"libp2p";
/// Read from the socket at once: TLS alone would read 4 KiB at a time. 64 KiB: four of its records.
const READ_BYTES: usize = 64 * 1024;

/// What a connection becomes.
pub(super) type Secured<S> = Gathered<Either<TlsStream<BufReader<S>>, noise::Output<S>>>;

/// Why a connection cannot be secured.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecurityError {
    /// No certificate for this node's key.
    #[error("no certificate can be made: {0}")]
    Certificate(#[from] certificate::GenError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    /// A TLS handshake failed.
    #[error("TLS handshake: {0}")]
    Tls(#[from] io::Error),
    /// The peer showed none, or one that proves no key.
    #[error("the peer's certificate names no node")]
    Nameless,
    /// A noise handshake failed.
    #[error("noise handshake: {0}")]
    Noise(#[from] noise::Error),
}

/// Secures connections in the name of one key.
#[derive(Clone)]
pub(super) struct Security {
    accepting: Arc<ServerConfig>,
    dialling: Arc<ClientConfig>,
    noise: noise::Config,
}

impl Security {
    /// # Errors
    /// When the key cannot be used.
    pub(super) fn new(keypair: &Keypair) -> Result<Self, SecurityError> {
        let (certificate, key) = certificate::generate(keypair)?;
        let key = aws_lc_rs::sign::any_ecdsa_type(&key)?;
        let own = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key)));
        let provider = CryptoProvider { cipher_suites: suites(has_aes()), ..aws_lc_rs::default_provider() };
        let provider = Arc::new(provider);
        let mut accepting = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(OfNode))
            .with_cert_resolver(own.clone());
        let mut dialling = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OfNode))
            .with_client_cert_resolver(own);
        accepting.alpn_protocols = vec![ALPN.to_vec()];
        dialling.alpn_protocols = vec![ALPN.to_vec()];
        // Each connection proves the key anew. All peers have one name here, so that no session could be told apart.
        accepting.session_storage = Arc::new(NoServerSessionStorage {});
        accepting.send_tls13_tickets = 0;
        dialling.resumption = Resumption::disabled();
        dialling.enable_sni = false;
        let noise = noise::Config::new(keypair)?;
        Ok(Self { accepting: Arc::new(accepting), dialling: Arc::new(dialling), noise })
    }
}

/// The fastest first: without instructions for it, AES is the slower one.
fn suites(has_aes: bool) -> Vec<SupportedCipherSuite> {
    let mut suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    if !has_aes {
        suites.rotate_right(1);
    }
    suites
}

/// AES, and what its mode of operation multiplies with.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = std::array::IntoIter<&'static str, 2>;

    fn protocol_info(&self) -> Self::InfoIter {
        [TLS, NOISE].into_iter()
    }
}

impl<S> InboundConnectionUpgrade<S> for Security
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Secured<S>);
    type Error = SecurityError;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, socket: S, name: Self::Info) -> Self::Future {
        async move {
            if name == NOISE {
                return Ok(by_noise(self.noise.upgrade_inbound(socket, name).await?));
            }
            let accepted = TlsAcceptor::from(self.accepting).accept(buffered(socket)).await?;
            by_tls(accepted.into())
        }
        .boxed()
    }
}

impl<S> OutboundConnectionUpgrade<S> for Security
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Secured<S>);
    type Error = SecurityError;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, socket: S, name: Self::Info) -> Self::Future {
        async move {
            if name == NOISE {
                return Ok(by_noise(self.noise.upgrade_outbound(socket, name).await?));
            }
            // An address is not sent as a name, and libp2p has none to send.
            let nobody = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
            let dialled = TlsConnector::from(self.dialling).connect(nobody, buffered(socket)).await?;
            by_tls(dialled.into())
        }
        .boxed()
    }
}

fn buffered<S: AsyncRead>(socket: S) -> BufReader<S> {
    BufReader::with_capacity(READ_BYTES, socket)
}

fn by_noise<S>((peer, stream): (PeerId, noise::Output<S>)) -> (PeerId, Secured<S>) {
    (peer, Gathered::new(Either::Right(stream)))
}

fn by_tls<S>(stream: TlsStream<BufReader<S>>) -> Result<(PeerId, Secured<S>), SecurityError> {
    let peer = proven(stream.get_ref().1)?;
    Ok((peer, Gathered::new(Either::Left(stream))))
}

/// Whose key the handshake has proven.
fn proven(state: &CommonState) -> Result<PeerId, SecurityError> {
    let [certificate] = state.peer_certificates().unwrap_or_default() else {
        return Err(SecurityError::Nameless);
    };
    certificate::parse(certificate).map(|own| own.peer_id()).map_err(|_| SecurityError::Nameless)
}

/// Takes the certificate of any node: signed by itself, its key vouched for by the node's. Which node it is, the swarm
/// compares with the one that it dialled.
#[derive(Debug)]
struct OfNode;

impl OfNode {
    fn check(certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        if !others.is_empty() {
            return Err(rustls::Error::General("a node shows one certificate".to_owned()));
        }
        certificate::parse(certificate)?;
        Ok(())
    }

    fn check_signature(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        certificate::parse(certificate)?.verify_signature(signed.scheme, message, signed.signature())?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn refuse_old() -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("nodes speak TLS 1.3".to_owned()))
    }

    fn schemes() -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
        ]
    }
}

impl ServerCertVerifier for OfNode {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Self::check(certificate, others)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::refuse_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

impl ClientCertVerifier for OfNode {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Self::check(certificate, others)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::refuse_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

#[cfg(test)]
mod tests;
