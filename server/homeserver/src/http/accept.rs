//! Sockets: binding them, accepting connections, and letting go of them in good order.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header};
use hyper::{
    body::Body as HttpBody,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{
    io::{InspectReader, InspectWriter},
    sync::CancellationToken,
};

use super::{
    body::Body,
    dispatch::{Front, Peer},
};
use crate::tasks::Tasks;

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has the port.
    #[error("cannot listen on {0}: another program already does; stop it, or change `bind`")]
    Taken(SocketAddr),
    /// Another reason.
    #[error("cannot listen on {address}: {reason}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        reason: io::Error,
    },
    /// The admin socket.
    #[error("cannot open the admin socket {path}: {reason}")]
    Unix {
        /// The socket's file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
}

/// A socket that listens.
pub enum Socket {
    /// On the network, with or without TLS.
    Tcp(TcpListener, Option<TlsAcceptor>),
    /// For the owner of the process; the number is the owner's user id.
    Owner(UnixListener, u32),
}

/// Bounds that hold for all listeners together.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// One permit per open connection.
    pub connections: Arc<Semaphore>,
    /// How long a TLS handshake, and then the head of a request or the start of HTTP/2, may take; also
    /// how long a connection of HTTP/1 may idle between two requests.
    pub head_time: Duration,
}

/// Opens a socket on the network.
///
/// # Errors
/// The port is taken, or the address is not ours.
pub async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> Result<Socket, BindError> {
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|reason| match reason.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken(address),
        _ => BindError::Tcp { address, reason },
    })?;
    Ok(Socket::Tcp(listener, tls))
}

/// Opens the admin socket, which only the owner of the process may use.
///
/// # Errors
/// The directory cannot be written, the path is too long for a socket, or somebody uses it.
pub fn bind_owner(path: &Path) -> Result<Socket, BindError> {
    let open = || -> io::Result<Socket> {
        remove_leftover(path)?;
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Socket::Owner(listener, std::fs::metadata(path)?.uid()))
    };
    open().map_err(|reason| BindError::Unix {
        path: path.to_owned(),
        reason,
    })
}

/// Removes the socket of a process that is gone; anything else in that place stays.
fn remove_leftover(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(io::Error::other("there is a file in its place"))
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            Err(io::Error::other("another process listens on it"))
        }
        Ok(_) => std::fs::remove_file(path),
    }
}

impl Socket {
    /// The address, where the socket has one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener, _) => listener.local_addr().ok(),
            Self::Owner(..) => None,
        }
    }

    /// Accepts connections until `tasks` are told to stop.
    ///
    /// # Errors
    /// None: what goes wrong with one connection is that connection's affair.
    pub async fn serve(
        self,
        front: Arc<Front>,
        bounds: Bounds,
        tasks: Tasks,
    ) -> Result<(), Infallible> {
        let stopping = tasks.stopping().clone();
        let accept = async {
            loop {
                let Ok(permit) = Arc::clone(&bounds.connections).acquire_owned().await else {
                    return;
                };
                match self.accept().await {
                    Ok(accepted) => {
                        // Boxed: a task holds what it runs as often as it is handed on to be run.
                        let served = Box::pin(accepted.serve(
                            Arc::clone(&front),
                            bounds.head_time,
                            tasks.clone(),
                        ));
                        tasks.spawn("connection", async move {
                            let _permit = permit;
                            served.await;
                        });
                    }
                    // Out of file descriptors, most likely: wait for some to come back.
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = stopping.cancelled() => {}
        }
        Ok(())
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, tls) => {
                let (stream, address) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, address, tls.clone()))
            }
            Self::Owner(listener, owner) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                // Whoever may write the socket's file may connect; that is us, and root.
                if uid != *owner && uid != 0 {
                    return Err(io::Error::other(format!(
                        "user {uid} may not use the admin socket"
                    )));
                }
                Ok(Accepted::Owner(stream))
            }
        }
    }
}

enum Accepted {
    Tcp(TcpStream, SocketAddr, Option<TlsAcceptor>),
    Owner(UnixStream),
}

impl Accepted {
    /// Serves until the end. Each kind is boxed, so that a connection takes the memory of its own
    /// kind alone.
    async fn serve(self, front: Arc<Front>, head_time: Duration, tasks: Tasks) {
        match self {
            Self::Owner(stream) => {
                Box::pin(http1(stream, front, Peer::Owner, head_time, &tasks)).await;
            }
            Self::Tcp(stream, address, None) => {
                let peer = Peer::Address(address.ip());
                let _ = stream.set_nodelay(true);
                match in_time(speaks_http2(&stream), head_time, &tasks).await {
                    Some(true) => Box::pin(http2(stream, front, peer, head_time, tasks)).await,
                    Some(false) => Box::pin(http1(stream, front, peer, head_time, &tasks)).await,
                    None => {}
                }
            }
            Self::Tcp(stream, address, Some(tls)) => {
                let peer = Peer::Address(address.ip());
                let _ = stream.set_nodelay(true);
                Box::pin(encrypted((tls, stream), front, peer, head_time, tasks)).await;
            }
        }
    }
}

/// Serves what comes over TLS, whose state is large: a plain connection does without.
async fn encrypted(
    (tls, stream): (TlsAcceptor, TcpStream),
    front: Arc<Front>,
    peer: Peer,
    head_time: Duration,
    tasks: Tasks,
) {
    let handshake = Box::pin(tls.accept(stream));
    let Some(stream) = in_time(handshake, head_time, &tasks).await else {
        return;
    };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if is_http2 {
        Box::pin(http2(stream, front, peer, head_time, tasks)).await;
    } else {
        Box::pin(http1(stream, front, peer, head_time, &tasks)).await;
    }
}

/// What has to happen before the first request: it gets its time, but does not hold up the end.
async fn in_time<T>(
    start: impl Future<Output = io::Result<T>>,
    time: Duration,
    tasks: &Tasks,
) -> Option<T> {
    tokio::select! {
        started = timeout(time, start) => started.ok()?.ok(),
        () = tasks.stopping().cancelled() => None,
    }
}

/// Whether a plain connection starts with the preface of HTTP/2, which clients send in one piece.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0; 14];
    let read = stream.peek(&mut start).await?;
    Ok(start.get(..read) == Some(b"PRI * HTTP/2.0"))
}

async fn http1<S>(mut stream: S, front: Arc<Front>, peer: Peer, head_time: Duration, tasks: &Tasks)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = Requests::default();
    {
        let service = service_fn(|request| {
            let answered = requests.answer(&front, request, peer);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        let connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(head_time)
                .max_headers(HEADERS_MAX)
                .max_buf_size(HEAD_SIZE_BYTES)
                .serve_connection(TokioIo::new(requests.metered(&mut stream)), service)
        );
        let drain = http1::Connection::graceful_shutdown;
        drive(connection, drain, &requests, tasks.stopping()).await;
    }
    if requests.left_unread.load(Ordering::Relaxed) {
        Box::pin(linger(stream, tasks.stopping())).await;
    }
}

async fn http2<S>(stream: S, front: Arc<Front>, peer: Peer, head_time: Duration, tasks: Tasks)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = Arc::new(Requests::default());
    let of_streams = Arc::clone(&requests);
    let service = service_fn(move |request| {
        let (front, requests) = (Arc::clone(&front), Arc::clone(&of_streams));
        async move { Ok::<_, Infallible>(requests.answer(&front, request, peer).await) }
    });
    let stopping = tasks.stopping().clone();
    let connection = pin!(
        http2::Builder::new(tasks)
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_LIST_SIZE_BYTES)
            .keep_alive_interval(Duration::from_secs(60))
            .keep_alive_timeout(Duration::from_secs(20))
            .serve_connection(TokioIo::new(requests.metered(stream)), service)
    );
    let drain = http2::Connection::graceful_shutdown;
    tokio::select! {
        () = drive(connection, drain, &requests, &stopping) => {}
        () = requests.late(head_time) => {}
    }
}

/// The requests of one connection and its bytes, counted, so that its end knows what it would break off.
#[derive(Debug, Default)]
struct Requests {
    begun: AtomicU64,
    ended: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    /// Whether the last answer came before the end of its request's body.
    left_unread: AtomicBool,
}

impl Requests {
    async fn answer<B>(&self, front: &Front, request: Request<B>, peer: Peer) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let _under_way = UnderWay(&self.ended);
        let response = front.answer(request, peer).await;
        if response.headers().contains_key(header::CONNECTION) {
            self.left_unread.store(true, Ordering::Relaxed);
        }
        response
    }

    /// A connection whose bytes are counted.
    fn metered<S: AsyncRead + AsyncWrite>(
        &self,
        stream: S,
    ) -> impl AsyncRead + AsyncWrite + use<'_, S> {
        let count = |counter: &AtomicU64, bytes: &[u8]| {
            let bytes = u64::try_from(bytes.len()).unwrap_or_default();
            counter.fetch_add(bytes, Ordering::Relaxed);
        };
        let reader = InspectReader::new(stream, move |bytes| count(&self.bytes_read, bytes));
        InspectWriter::new(reader, move |bytes| count(&self.bytes_written, bytes))
    }

    /// Returns when so much time has passed and a connection of HTTP/2 has not even begun.
    async fn late(&self, head_time: Duration) {
        sleep(head_time).await;
        if self.bytes_read.load(Ordering::Relaxed) >= HTTP2_START_BYTES {
            std::future::pending::<()>().await;
        }
    }

    /// Returns once nothing is under way, and what was answered last has had time to go out: for as long
    /// as it does, within [`ANSWER_TIME`]. At once where no request has come.
    async fn quiet(&self) {
        let stopped = Instant::now();
        loop {
            let ended = self.ended.load(Ordering::Relaxed);
            let written = self.bytes_written.load(Ordering::Relaxed);
            if self.begun.load(Ordering::Relaxed) == 0 {
                return;
            }
            sleep(ANSWER_GRACE).await;
            let is_moving = self.bytes_written.load(Ordering::Relaxed) != written
                && stopped.elapsed() < ANSWER_TIME;
            if self.begun.load(Ordering::Relaxed) == ended && !is_moving {
                return;
            }
        }
    }
}

/// Counts a request as ended, also where its client hangs up.
struct UnderWay<'c>(&'c AtomicU64);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How long an answer may stand still when the process ends.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// How long an answer may take to go out when the process ends, though it moves.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// What a client of HTTP/2 sends before anything else: the preface, and the head of its settings.
const HTTP2_START_BYTES: u64 = 24 + 9;

/// How long a connection is read on that was answered before its request had come, and the longest
/// silence in that.
const LINGER_TIME: Duration = Duration::from_secs(5);
const LINGER_SILENCE: Duration = Duration::from_secs(1);

/// Reads on for a while after the last answer. Were the connection given up while its client still
/// sends, the system would throw away the answer with it.
async fn linger(mut stream: impl AsyncRead + Unpin, stopping: &CancellationToken) {
    let mut bytes = vec![0; 16 * 1024];
    let rest = async {
        loop {
            match timeout(LINGER_SILENCE, stream.read(&mut bytes)).await {
                Ok(Ok(read)) if read > 0 => {}
                _ => return,
            }
        }
    };
    tokio::select! {
        _ = timeout(LINGER_TIME, rest) => {}
        () = stopping.cancelled() => {}
    }
}

/// More than any client sends.
const HEADERS_MAX: usize = 64;
/// The longest request line with all headers; a path may hold two ids of 255 bytes, thrice encoded.
const HEAD_SIZE_BYTES: usize = 32 * 1024;
const HEADER_LIST_SIZE_BYTES: u32 = 32 * 1024;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// Runs a connection to its end. When the process stops, requests under way are answered, no further
/// ones are read, and one whose head has not come whole is not waited for. The connection stays where
/// it is: moved, it would be held twice.
async fn drive<C>(
    mut connection: Pin<&mut C>,
    drain: impl FnOnce(Pin<&mut C>),
    requests: &Requests,
    stopping: &CancellationToken,
) where
    C: Future,
{
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopping.cancelled() => drain(connection.as_mut()),
    }
    tokio::select! {
        biased;
        _ = connection => {}
        () = requests.quiet() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each connection takes that waits, besides the request and the buffers of the HTTP library.
    #[test]
    fn a_connection_holds_little() {
        fn size_bytes<A: Future>(_: impl Fn(Accepted, Arc<Front>, Duration, Tasks) -> A) -> usize {
            size_of::<A>()
        }
        let size_bytes = size_bytes(Accepted::serve);
        assert!(size_bytes < 3 << 9, "{size_bytes} bytes");
    }
}
