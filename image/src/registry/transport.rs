//! One HTTP request and its answer's headers, over TLS or not: no redirect, no login, no second try.
//! Not its job: what is asked, and what to do about an answer.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sys::Errno;
use ureq::http::{HeaderMap, Method, Request, Response};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, AsSendBody, Proxy, SendBody};

use super::address::Address;
use super::patience::Patience;
use super::proxy::Proxies;
use crate::error::Doing;
use crate::{Error, Result};

/// The headers of an answer, all together.
const MAX_HEADERS: usize = 32 << 10;

/// A file of certificates or a key.
const MAX_PEM: u64 = 4 << 20;

/// Whose certificates count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trust {
    /// Files of certificates beside the system's.
    pub(super) authorities: Vec<PathBuf>,
    /// Our own certificate and its key.
    pub(super) own: Option<(PathBuf, PathBuf)>,
    /// Whether the server must prove who it is.
    pub(super) verify: bool,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            authorities: Vec::new(),
            own: None,
            verify: true,
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server speaks, but no TLS.
    NotTls(String),
    /// Nobody listens there.
    Nobody(String),
    /// The next time it may go well.
    Passing(String),
    /// It will not.
    Lasting(String),
}

impl Fault {
    /// What happened.
    pub(super) fn reason(self) -> String {
        match self {
            Self::NotTls(reason)
            | Self::Nobody(reason)
            | Self::Passing(reason)
            | Self::Lasting(reason) => reason,
        }
    }
}

/// What goes with a request.
pub(super) enum Sent<'a> {
    /// Nothing.
    Nothing,
    /// Bytes.
    Bytes(&'a [u8]),
    /// A stream of known length.
    Stream(&'a mut dyn Read, u64),
}

/// An answer: its headers, and its body to be read.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: ureq::Body,
}

impl Answer {
    /// A header as text; nothing if it is not printable ASCII.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Connections to servers that share one trust.
#[derive(Debug)]
pub(super) struct Transport {
    agent: Agent,
    proxies: Proxies,
    patience: Patience,
}

impl Transport {
    pub(super) fn new(trust: &Trust, patience: Patience) -> Result<Self> {
        sys::lookup::only_files_and_dns();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(roots(trust)?)
            .client_cert(trust.own.as_ref().map(own).transpose()?)
            .disable_verification(!trust.verify)
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .tls_config(tls)
            .user_agent(concat!("dhow/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(MAX_HEADERS)
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_send_request(Some(patience.idle))
            .timeout_recv_response(Some(patience.idle))
            .timeout_per_read(Some(patience.idle))
            .timeout_per_write(Some(patience.idle))
            .max_idle_connections_per_host(8)
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
            proxies: Proxies::new(|name| std::env::var(name).ok()),
            patience,
        })
    }

    /// Asks, and reads the headers of the answer.
    pub(super) fn ask(
        &self,
        method: &Method,
        address: &Address,
        headers: &[(&str, &str)],
        sent: Sent<'_>,
    ) -> Result<Answer, Fault> {
        let mut request = Request::builder().method(method).uri(address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let lasting = |e: ureq::http::Error| Fault::Lasting(e.to_string());
        let to = self.proxies.to(&address.origin).map_err(Fault::Lasting)?;
        let idle = self.patience.idle;
        let answer = match sent {
            Sent::Nothing if *method == Method::POST || *method == Method::PUT => {
                self.run(request.body(&[][..]).map_err(lasting)?, to, idle)
            }
            Sent::Nothing => self.run(request.body(()).map_err(lasting)?, to, idle),
            Sent::Bytes(bytes) => self.run(request.body(bytes).map_err(lasting)?, to, idle),
            Sent::Stream(stream, length) => {
                let request = request.header("content-length", length);
                let body = SendBody::from_reader(stream);
                // A registry may have to move what it got before it answers.
                self.run(request.body(body).map_err(lasting)?, to, idle * 10)
            }
        };
        let answer = answer.map_err(|e| fault(e, address.origin.tls))?;
        let (parts, body) = answer.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    }

    /// By this way, and no longer silent than `idle`.
    fn run<B: AsSendBody>(
        &self,
        request: Request<B>,
        proxy: Option<Proxy>,
        idle: Duration,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        let request = self.agent.configure_request(request);
        let request = request
            .proxy(proxy)
            .timeout_recv_response(Some(idle))
            .timeout_per_read(Some(idle));
        self.agent.run(request.build())
    }
}

/// What went wrong, in words, and whether it may pass.
fn fault(error: ureq::Error, tls: bool) -> Fault {
    match error {
        ureq::Error::Io(e) => io_fault(&e, tls),
        ureq::Error::Timeout(_) => Fault::Passing("it does not answer in time".to_owned()),
        ureq::Error::HostNotFound => Fault::Lasting("no such host".to_owned()),
        ureq::Error::Rustls(e) => tls_fault(&e),
        ureq::Error::LargeResponseHeader(..) => Fault::Lasting(format!(
            "the answer's headers are larger than {MAX_HEADERS} bytes"
        )),
        ureq::Error::Protocol(e) => Fault::Lasting(format!("the answer is no HTTP: {e}")),
        other => Fault::Lasting(other.to_string()),
    }
}

fn io_fault(e: &io::Error, tls: bool) -> Fault {
    let inner = e.get_ref();
    if let Some(e) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls_fault(e);
    }
    if let Some(ureq::Error::Timeout(_)) = inner.and_then(|inner| inner.downcast_ref()) {
        return Fault::Passing("it does not answer in time".to_owned());
    }
    let reason = reason(e);
    match e.kind() {
        io::ErrorKind::ConnectionRefused => Fault::Nobody(reason),
        // So do servers that know no TLS, at its first word.
        io::ErrorKind::UnexpectedEof if tls => Fault::NotTls("it ended the connection".to_owned()),
        io::ErrorKind::UnexpectedEof => Fault::Passing("it ended the connection".to_owned()),
        _ if e.raw_os_error().is_none() => Fault::Lasting(reason),
        _ => Fault::Passing(reason),
    }
}

/// The system's words for a failed read or write; the library's where it has none.
pub(super) fn reason(e: &io::Error) -> String {
    let inner = e
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<ureq::Error>());
    match (e.raw_os_error(), e.kind(), inner) {
        (Some(number), _, _) => sys::words(Errno::from_raw_os_error(number)),
        (_, io::ErrorKind::UnexpectedEof, _) => "it ended the connection".to_owned(),
        (_, _, Some(ureq::Error::Timeout(_))) => "it does not answer in time".to_owned(),
        _ => e.to_string(),
    }
}

fn tls_fault(e: &rustls::Error) -> Fault {
    use rustls::{AlertDescription as Alert, CertificateError, Error as Tls, InvalidMessage};
    match e {
        Tls::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Fault::NotTls("it does not speak TLS".to_owned())
        }
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Fault::Lasting("its certificate is signed by nobody that this system knows".to_owned())
        }
        // Servers have two words for one that is missing.
        Tls::AlertReceived(Alert::CertificateRequired | Alert::BadCertificate) => {
            Fault::Lasting("it wants a certificate of ours, one that it knows".to_owned())
        }
        other => Fault::Lasting(format!("TLS: {other}")),
    }
}

/// The certificates of the system, and those of `trust`.
fn roots(trust: &Trust) -> Result<RootCerts> {
    static SYSTEM: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    let system = SYSTEM.get_or_init(|| {
        // A file among them that can't be read is as if it were not there: connections then say whom they miss.
        let found = rustls_native_certs::load_native_certs().certs;
        found
            .iter()
            .map(|cert| Certificate::from_der(cert).to_owned())
            .collect()
    });
    let mut all = system.clone();
    for path in &trust.authorities {
        let found = items(path)?.into_iter().filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        });
        let before = all.len();
        all.extend(found);
        if all.len() == before {
            return Err(Error::refused(
                path.display().to_string(),
                "it holds no certificate",
            ));
        }
    }
    Ok(RootCerts::from(all))
}

fn own((chain, key): &(PathBuf, PathBuf)) -> Result<ClientCert> {
    let certificates: Vec<Certificate<'static>> = items(chain)?
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    let found = items(key)?.into_iter().find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    let key: PrivateKey<'static> = found
        .ok_or_else(|| Error::refused(key.display().to_string(), "it holds no private key"))?;
    match certificates.is_empty() {
        true => Err(Error::refused(
            chain.display().to_string(),
            "it holds no certificate",
        )),
        false => Ok(ClientCert::new_with_certs(&certificates, key)),
    }
}

fn items(path: &PathBuf) -> Result<Vec<PemItem<'static>>> {
    let bytes = sys::file::read(path, MAX_PEM).doing(|| "read certificates".to_owned())?;
    parse_pem(&bytes).collect::<Result<_, _>>().map_err(|e| {
        Error::refused(
            path.display().to_string(),
            format!("it is no PEM file: {e}"),
        )
    })
}
