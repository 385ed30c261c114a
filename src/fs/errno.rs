//! The one table from what went wrong in a part to what the kernel hears, and how loudly it is
//! logged. No other module knows errno; every match is exhaustive, so that a new kind of failure
//! cannot be forgotten here.
use crate::api::{ApiError, ErrorKind};
use crate::outbox::OutboxError;
use crate::read::ReadError;
use crate::tree::TreeError;
use crate::write::error::StageError;
use crate::write::volume::VolumeError;
use fuser::Errno;
use log::Level;

/// An errno and how loudly the cause is logged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) errno: Errno,
    pub(super) level: Level,
}

const fn verdict(errno: Errno, level: Level) -> Verdict {
    Verdict { errno, level }
}

/// What the kernel hears of a failure.
pub(super) trait ToErrno: std::fmt::Display {
    /// The table's row for this failure.
    fn verdict(&self) -> Verdict;
}

impl ToErrno for ApiError {
    #[expect(
        clippy::match_same_arms,
        reason = "a row per meaning reads better than a row per errno"
    )]
    fn verdict(&self) -> Verdict {
        use ErrorKind as K;
        match self.kind {
            // The deadline passed while the service was silent or asked for silence: it may work in
            // a minute, and that is what ETIMEDOUT says to a person and to a program.
            K::Flood | K::IpBanned | K::Timeout | K::Maintenance | K::Network => {
                verdict(Errno::ETIMEDOUT, Level::Warn)
            }
            K::KeyRefused | K::NetworkRefused => verdict(Errno::EACCES, Level::Error),
            K::NotAllowed | K::Password => verdict(Errno::EACCES, Level::Warn),
            K::NotCustomer => verdict(Errno::EPERM, Level::Error),
            K::OwnerLocked => verdict(Errno::EACCES, Level::Warn),
            K::NotFound => verdict(Errno::ENOENT, Level::Debug),
            K::NothingRenamed => verdict(Errno::EACCES, Level::Warn),
            K::OverQuota => verdict(Errno::EDQUOT, Level::Warn),
            K::TooManyLocations | K::TooManyConnections => verdict(Errno::EIO, Level::Warn),
            K::Server | K::LinkExpired | K::NodeTrouble | K::ReportPending | K::ReportEmpty => {
                verdict(Errno::EIO, Level::Warn)
            }
            K::SourceFailed
            | K::NothingChanged
            | K::UploadMalformed
            | K::Refused
            | K::Malformed
            | K::BadRequest => verdict(Errno::EIO, Level::Error),
            K::WrongBytes | K::Tls | K::HostRefused => verdict(Errno::EIO, Level::Error),
        }
    }
}

impl ToErrno for ReadError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Timeout => verdict(Errno::ETIMEDOUT, Level::Warn),
            // The kernel has the file open: it did exist, so "no such file" would be a lie.
            Self::Api(error) if self.is_gone() => Verdict {
                errno: Errno::ESTALE,
                level: error.verdict().level.min(Level::Warn),
            },
            Self::Api(error) => error.verdict(),
            Self::Shutdown => verdict(Errno::ESHUTDOWN, Level::Debug),
        }
    }
}

impl ToErrno for TreeError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::NotFound(_) => verdict(Errno::ENOENT, Level::Debug),
            Self::NotDir(_) => verdict(Errno::ENOTDIR, Level::Debug),
            Self::Stale(_) => verdict(Errno::ESTALE, Level::Debug),
            // A part of a folder must never pass for the whole: a mirror would delete the rest.
            Self::Cut { .. } => verdict(Errno::EOVERFLOW, Level::Warn),
            Self::Api { source, .. } => source.verdict(),
            Self::Timeout(_) => verdict(Errno::ETIMEDOUT, Level::Warn),
            Self::Interrupted(_) => verdict(Errno::ESHUTDOWN, Level::Debug),
        }
    }
}

impl ToErrno for StageError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Full => verdict(Errno::ENOSPC, Level::Warn),
            Self::TooLarge => verdict(Errno::EFBIG, Level::Warn),
            Self::Disk(_) => verdict(Errno::EIO, Level::Error),
            Self::Base(error) => error.verdict(),
        }
    }
}

impl ToErrno for OutboxError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Full(_) => verdict(Errno::ENOSPC, Level::Error),
            Self::Journal(_) | Self::Store(_) => verdict(Errno::EIO, Level::Error),
        }
    }
}

impl ToErrno for VolumeError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Tree(error) => error.verdict(),
            Self::Stage(error) => error.verdict(),
            Self::Read(error) => error.verdict(),
            Self::Outbox(error) => error.verdict(),
            Self::NotFound => verdict(Errno::ENOENT, Level::Debug),
            Self::Exists => verdict(Errno::EEXIST, Level::Debug),
            Self::NotEmpty => verdict(Errno::ENOTEMPTY, Level::Debug),
            Self::IsFolder => verdict(Errno::EISDIR, Level::Debug),
            Self::NotFolder => verdict(Errno::ENOTDIR, Level::Debug),
            // A program says "invalid argument", which helps nobody: the log says which.
            Self::Name(_) => verdict(Errno::EINVAL, Level::Info),
            Self::NameTooLong => verdict(Errno::ENAMETOOLONG, Level::Info),
            Self::ReadOnly => verdict(Errno::EROFS, Level::Debug),
            Self::Unsupported => verdict(Errno::EOPNOTSUPP, Level::Debug),
            Self::Invalid(_) => verdict(Errno::EINVAL, Level::Debug),
            Self::Upload(_) => verdict(Errno::EIO, Level::Error),
            Self::OverQuota(_) => verdict(Errno::EDQUOT, Level::Warn),
            Self::Timeout => verdict(Errno::ETIMEDOUT, Level::Warn),
            Self::Ending => verdict(Errno::ESHUTDOWN, Level::Debug),
        }
    }
}
