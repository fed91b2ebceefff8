//! One server of a registry as the one who asks it sees it: requests with the login that it wants, after
//! its redirects, again where that may help. Not its job: what is asked (`pull.rs`, `push.rs`), and how
//! a token is got (`token.rs`).

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use ureq::http::Method;

use super::address::{Address, Origin};
use super::challenge;
use super::credentials::Credentials;
use super::endpoint::{Endpoint, Plain};
use super::patience::{Patience, retry_after};
use super::transport::{Answer, Fault, Sent, Transport};
use crate::{Error, Result, json};

/// Redirects on the way to one answer.
const MAX_REDIRECTS: usize = 5;

/// Logins for one answer: the second one where a token has aged.
const MAX_LOGINS: usize = 2;

/// A body that says what is wrong.
const MAX_WORDS: u64 = 64 << 10;

/// What one does in a repository, in a token's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// Nothing: only to be known.
    Nothing,
    /// Read the repository.
    Pull(String),
    /// Write to the repository, and read others of it for mounts.
    Push(String, Vec<String>),
}

/// A server, and how we are known there.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) endpoint: Endpoint,
    pub(super) scope: Scope,
    pub(super) credentials: Arc<Credentials>,
    pub(super) transport: Transport,
    pub(super) patience: Patience,
    /// Decided by the first request: with TLS or without.
    origin: Mutex<Option<Origin>>,
    /// What we show with each request to it.
    authorization: Mutex<Option<String>>,
}

/// A request.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    pub(super) address: Address,
    pub(super) headers: Vec<(&'a str, String)>,
    pub(super) sent: Body<'a>,
    /// Whether it may simply be made again.
    pub(super) again: bool,
}

/// What goes with it, as often as it is made.
pub(super) enum Body<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// A stream that can be begun anew, and its length.
    Stream(&'a dyn Fn() -> Result<Box<dyn Read + 'a>>, u64),
}

impl<'a> Question<'a> {
    /// A request without a body.
    pub(super) fn new(method: Method, address: Address) -> Self {
        Self {
            method,
            address,
            headers: Vec::new(),
            sent: Body::Nothing,
            again: true,
        }
    }

    #[must_use]
    pub(super) fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    #[must_use]
    pub(super) fn sending(mut self, body: Body<'a>) -> Self {
        self.sent = body;
        self
    }

    /// A request that changes what it is answered with: made again, it would be another.
    #[must_use]
    pub(super) fn once(mut self) -> Self {
        self.again = false;
        self
    }

    /// The request as messages name it.
    pub(super) fn name(&self) -> String {
        named(&self.method, &self.address)
    }

    /// Only these are followed elsewhere; a body goes where it was sent.
    fn may_follow(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}

/// A request in a message. What is asked in the query may be a secret of a content network.
fn named(method: &Method, address: &Address) -> String {
    let path = address.path.split('?').next().unwrap_or_default();
    format!("{method} {}{path}", address.origin)
}

impl Client {
    pub(super) fn new(
        endpoint: Endpoint,
        scope: Scope,
        credentials: Arc<Credentials>,
        patience: Patience,
    ) -> Result<Self> {
        let transport = Transport::new(&endpoint.trust, patience)?;
        let decided = match endpoint.plain {
            Plain::Never | Plain::Always => Some(endpoint.origin.clone()),
            Plain::Fallback => None,
        };
        Ok(Self {
            endpoint,
            scope,
            credentials,
            transport,
            patience,
            origin: Mutex::new(decided),
            authorization: Mutex::new(None),
        })
    }

    /// The address of `path` below this server's API.
    pub(super) fn at(&self, path: &str) -> Result<Address> {
        let address = self.origin()?.at(format!("{}{path}", self.endpoint.prefix));
        Ok(match &self.endpoint.namespace {
            Some(namespace) => address.with("ns", namespace),
            None => address,
        })
    }

    /// Whom we speak with. Where TLS is not a must, it is tried first.
    pub(super) fn origin(&self) -> Result<Origin> {
        let mut origin = lock(&self.origin);
        if let Some(origin) = &*origin {
            return Ok(origin.clone());
        }
        let tls = self.endpoint.origin.clone();
        let plain = Origin {
            tls: false,
            port: self.endpoint.plain_port,
            ..tls.clone()
        };
        let probe = tls.at(format!("{}/", self.endpoint.prefix));
        let found = match self.transport.ask(&Method::GET, &probe, &[], Sent::Nothing) {
            Err(Fault::NotTls(_) | Fault::Nobody(_) | Fault::Passing(_)) => plain,
            // Whatever it says: it has said it by TLS. And a certificate that is wrong, the first request tells.
            _ => tls,
        };
        Ok(origin.insert(found).clone())
    }

    /// Asks until there is an answer that means something, or patience ends. What the answer is, is the
    /// caller's to judge.
    pub(super) fn ask(&self, question: &Question<'_>) -> Result<Answer> {
        let (mut made, mut logins) = (1, 0);
        loop {
            let shown = lock(&self.authorization).clone();
            let (wait, last) = match self.follow(question, shown.as_deref()) {
                Ok((answer, own)) => match answer.status {
                    401 if own && logins < MAX_LOGINS => {
                        logins += 1;
                        self.log_in(&answer, shown.as_deref(), question)?;
                        continue;
                    }
                    408 | 429 | 500 | 502 | 503 | 504 => {
                        let asked = answer.header("retry-after");
                        let asked = asked.and_then(|value| retry_after(value, now()));
                        (self.patience.wait(made, asked), Ok(answer))
                    }
                    _ => return Ok(answer),
                },
                Err(Gone {
                    fault: Fault::Passing(reason) | Fault::NotTls(reason),
                    asked,
                }) => (
                    self.patience.wait(made, None),
                    Err(unanswered(asked, reason)),
                ),
                Err(Gone { fault, asked }) => return Err(unanswered(asked, fault.reason())),
            };
            match wait.filter(|_| question.again) {
                Some(wait) => thread::sleep(wait),
                None => return last,
            }
            made += 1;
        }
    }

    /// Makes one request, and those that redirects ask for. Says whether the answer is this server's own.
    fn follow(&self, question: &Question<'_>, shown: Option<&str>) -> Result<(Answer, bool), Gone> {
        let home = lock(&self.origin).clone();
        let mut address = question.address.clone();
        for _ in 0..=MAX_REDIRECTS {
            let own = home.as_ref() == Some(&address.origin) || sys::fault::broken("no-own-origin");
            let asked = named(&question.method, &address);
            let gone = |fault| Gone {
                fault,
                asked: asked.clone(),
            };
            let answer = self
                .once(question, &address, shown.filter(|_| own))
                .map_err(gone)?;
            let redirect = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
            if !redirect || !question.may_follow() {
                return Ok((answer, own));
            }
            let location = answer.header("location").unwrap_or_default();
            let lasting = |rule: &str| {
                let location: String = location.chars().take(200).collect();
                Fault::Lasting(format!("it redirects to {location:?}: {rule}"))
            };
            let next = address.join(location).map_err(|rule| gone(lasting(rule)))?;
            if address.origin.tls && !next.origin.tls && !sys::fault::broken("no-tls-downgrade") {
                return Err(gone(lasting("that would be without TLS")));
            }
            address = next;
        }
        Err(Gone {
            fault: Fault::Lasting(format!("more than {MAX_REDIRECTS} redirects")),
            asked: question.name(),
        })
    }

    fn once(
        &self,
        question: &Question<'_>,
        address: &Address,
        shown: Option<&str>,
    ) -> Result<Answer, Fault> {
        let mut headers: Vec<(&str, &str)> = question
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        if let Some(shown) = shown {
            headers.push(("authorization", shown));
        }
        let own = lock(&self.origin).as_ref() == Some(&address.origin);
        if own {
            let ours = self.endpoint.headers.iter();
            headers.extend(ours.map(|(name, value)| (name.as_str(), value.as_str())));
        }
        let mut stream;
        let sent = match &question.sent {
            Body::Nothing => Sent::Nothing,
            Body::Bytes(bytes) => Sent::Bytes(bytes),
            Body::Stream(open, length) => {
                stream = open().map_err(|e| Fault::Lasting(e.to_string()))?;
                Sent::Stream(&mut *stream, *length)
            }
        };
        self.transport
            .ask(&question.method, address, &headers, sent)
    }

    /// Gets what the server wants to see. Another thread may have got it meanwhile.
    fn log_in(&self, answer: &Answer, shown: Option<&str>, question: &Question<'_>) -> Result<()> {
        let mut authorization = lock(&self.authorization);
        if authorization.as_deref() != shown {
            return Ok(());
        }
        let lines = answer.headers.get_all("www-authenticate").iter();
        let challenge = challenge::best(lines.filter_map(|line| line.to_str().ok()));
        *authorization = Some(self.authorize(challenge, shown.is_some(), &question.name())?);
        Ok(())
    }
}

/// A request without an answer.
struct Gone {
    fault: Fault,
    asked: String,
}

pub(super) fn unanswered(request: String, reason: String) -> Error {
    Error::Unanswered { request, reason }
}

/// What an answer that is no success says, for a message.
pub(super) fn denied(request: String, answer: Answer) -> Error {
    let status = answer.status;
    let said = words(answer).unwrap_or_else(|| meaning(status).to_owned());
    Error::Denied {
        request,
        status,
        said,
    }
}

/// The first error of a body as the distribution spec has it, quoted and cut.
fn words(answer: Answer) -> Option<String> {
    let bytes = read_body(answer, MAX_WORDS)?;
    let value = json::parse("error", &bytes).ok()?;
    let error = value.get("errors").and_then(|errors| errors.get(0))?;
    let text = |key: &str| {
        let text = error.get(key)?.as_str()?;
        Some(text.chars().take(200).collect::<String>()).filter(|text| !text.is_empty())
    };
    let said = text("message").or_else(|| text("code"))?;
    Some(format!("{said:?}"))
}

fn meaning(status: u16) -> &'static str {
    match status {
        401 => "(unauthorized)",
        403 => "(forbidden)",
        404 => "(not found)",
        429 => "(too many requests)",
        300..=399 => "(a redirect)",
        500..=599 => "(a fault of the server)",
        _ => "(not as expected)",
    }
}

/// A small body; `None` if it is larger, or can't be read.
pub(super) fn read_body(answer: Answer, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reader = answer.body.into_reader().take(most + 1);
    reader.read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= most).then_some(bytes)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "client_tests.rs"]
pub(in crate::registry) mod tests;
