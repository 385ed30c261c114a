//! An answer that is here, or one that is on its way.
//!
//! The contract between the kernel's adaptor and the parts: what is known is answered on the
//! thread that asked, which costs a few microseconds; only what is not goes through a task.
use std::pin::Pin;

/// An answer now, or a future of it that borrows nothing.
pub enum Cached<T> {
    /// Known: answer on this thread.
    Hit(T),
    /// Not known: whoever asked goes on with other work.
    Wait(Pin<Box<dyn Future<Output = T> + Send + 'static>>),
}

impl<T> Cached<T> {
    /// An answer that is on its way.
    pub fn wait(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self::Wait(Box::pin(future))
    }

    /// What `work` makes of the answer, as soon as it is here.
    pub fn then<U: 'static>(self, work: impl FnOnce(T) -> U + Send + 'static) -> Cached<U>
    where
        T: 'static,
    {
        match self {
            Self::Hit(answer) => Cached::Hit(work(answer)),
            Self::Wait(future) => Cached::wait(async move { work(future.await) }),
        }
    }

    /// The answer, waiting for it if need be.
    pub async fn ready(self) -> T {
        match self {
            Self::Hit(answer) => answer,
            Self::Wait(future) => future.await,
        }
    }
}
