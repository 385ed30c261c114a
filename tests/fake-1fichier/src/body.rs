//! The body of an answer: whole, or made piece by piece while it is sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

use crate::world::Call;

/// Body type of every answer. It counts what is handed to the connection.
pub(crate) struct Body {
    kind: Kind,
    /// Keeps the log entry open until the body is gone.
    call: Option<Arc<Call>>,
    /// Things that last as long as the body, such as a place among the connections.
    _guard: Option<Box<dyn Send>>,
}

enum Kind {
    Whole(Option<Bytes>),
    Pieces(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    pub(crate) fn whole(bytes: impl Into<Bytes>, call: Option<Arc<Call>>) -> Self {
        let bytes = bytes.into();
        Self {
            kind: Kind::Whole((!bytes.is_empty()).then_some(bytes)),
            call,
            _guard: None,
        }
    }

    /// Pieces from a task; an error among them ends the connection.
    pub(crate) fn pieces(
        pieces: mpsc::Receiver<io::Result<Bytes>>,
        call: Arc<Call>,
        guard: Box<dyn Send>,
    ) -> Self {
        Self {
            kind: Kind::Pieces(pieces),
            call: Some(call),
            _guard: Some(guard),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match &mut self.kind {
            Kind::Whole(bytes) => bytes.take().map(Ok),
            Kind::Pieces(pieces) => std::task::ready!(pieces.poll_recv(cx)),
        };
        if let (Some(Ok(bytes)), Some(call)) = (&piece, &self.call) {
            call.log(|e| e.bytes_sent += bytes.len() as u64);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            // The header `Content-Length` says it, also where a fault makes the body shorter.
            Kind::Pieces(_) => SizeHint::default(),
        }
    }
}
