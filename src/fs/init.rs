//! What we ask of the kernel at the start of a session, and why.
use super::passthrough::Passthrough;
use fuser::{InitFlags, KernelConfig};

/// Bytes of the largest request. The kernel clamps requests to 256 pages anyway (measured).
const MAX_WRITE: u32 = 1024 * 1024;

/// Requests the kernel may have under way in the background. Its read-ahead counts as background
/// and waits for the network with us: at the default of 16, a dozen stalled readers would hold up
/// reads of files that are in memory.
const MAX_BACKGROUND: u16 = 1024;

/// Above this many the kernel calls the mount congested and defers read-ahead: three quarters, as
/// libfuse has it.
const CONGESTION: u16 = MAX_BACKGROUND / 4 * 3;

/// Asks for what we want and logs what we did not get. Everything asked for is optional.
///
/// Never asked for: WRITEBACK_CACHE (the kernel would own sizes and times), locks (the kernel's own
/// are right for a mount on one host), and the capabilities fuser 0.18 offers but cannot honour
/// (SETXATTR_EXT and its like; one of them panics an event loop).
pub(super) fn negotiate(config: &mut KernelConfig, passthrough: Option<&Passthrough>) {
    if let Some(passthrough) = passthrough {
        passthrough.negotiate(config);
    }
    let wanted = [
        // Attributes come with the names of a listing; the kernel stops asking for them when nobody
        // uses them (20,000 entries: 66 ms instead of 345 ms, measured).
        InitFlags::FUSE_DO_READDIRPLUS,
        InitFlags::FUSE_READDIRPLUS_AUTO,
        // Lookups and listings of one folder need not wait for each other.
        InitFlags::FUSE_PARALLEL_DIROPS,
        // An O_TRUNC open must not arrive as setattr(size = 0) and open.
        InitFlags::FUSE_ATOMIC_O_TRUNC,
        // File handles outlive what the kernel remembers, and this mount: it may look "." and ".." of
        // any inode up, as NFS servers need. The tree finds them by their number.
        InitFlags::FUSE_EXPORT_SUPPORT,
        // Who maps a file that another one is copying must not be refused.
        InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    ];
    for capability in wanted {
        if config.add_capabilities(capability).is_err() {
            log::info!("this kernel does not offer {capability:?}; going on without it");
        }
    }
    let limits = [
        ("max_write", config.set_max_write(MAX_WRITE).err()),
        (
            "max_background",
            config
                .set_max_background(MAX_BACKGROUND)
                .err()
                .map(u32::from),
        ),
        (
            "congestion threshold",
            config
                .set_congestion_threshold(CONGESTION)
                .err()
                .map(u32::from),
        ),
    ];
    for (name, nearest) in limits {
        if let Some(nearest) = nearest {
            log::info!("this kernel bounds {name} to {nearest}");
        }
    }
}
