//! `fusermount3`, the set-uid helper of libfuse that mounts and unmounts for ordinary users.
//!
//! It is given a socket, mounts, and sends the opened device back through it. `FUSERMOUNT_PATH`
//! names another program to use.
use super::kernel::{MountError, Options, Way, shared_options, source};
use crate::config::key::KEY_VARIABLE;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The variable that tells fusermount3 which of its descriptors is the socket.
const SOCKET_VARIABLE: &str = "_FUSE_COMMFD";

/// The variable that names another program.
const PROGRAM_VARIABLE: &str = "FUSERMOUNT_PATH";

/// Where to look when PATH has it not: services often run with a short one.
const USUAL_FOLDERS: [&str; 3] = ["/usr/bin", "/bin", "/sbin"];

/// How long fusermount3 may take to send the device: it only calls mount(2).
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// What to do when the program is missing.
pub(super) const ADVICE: &str =
    "fusermount3 is not installed; install the package fuse3, or mount as root";

/// The program to run, if there is one.
pub(super) fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(PROGRAM_VARIABLE).filter(|name| !name.is_empty()) {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(USUAL_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join("fusermount3"))
        .find(|program| program.is_file())
}

/// Mounts through the helper.
pub(super) fn mount(mountpoint: &Path, options: &Options) -> Result<OwnedFd, MountError> {
    let program = find().ok_or_else(|| MountError::Refused {
        mountpoint: mountpoint.to_owned(),
        why: ADVICE.into(),
    })?;
    mount_with(&program, mountpoint, options)
}

fn mount_with(program: &Path, mountpoint: &Path, options: &Options) -> Result<OwnedFd, MountError> {
    let refused = |why: String| MountError::Refused {
        mountpoint: mountpoint.to_owned(),
        why,
    };
    let (ours, theirs) = UnixStream::pair()?;
    // The socket is handed over as standard input: descriptors above 2 are closed on exec, and
    // opening one for every program started meanwhile by another thread would leak it there.
    let mut helper = Command::new(program)
        .arg("-o")
        .arg(option_list(options))
        .arg("--")
        .arg(mountpoint)
        .env(SOCKET_VARIABLE, "0")
        .env_remove(KEY_VARIABLE)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|err| refused(format!("{}: {err}", program.display())))?;
    let received = receive(&ours);
    drop(ours);
    if let Err(err) = &received
        && err.kind() == io::ErrorKind::WouldBlock
    {
        // It hangs. It runs under our real user, so we may end it; if not, waiting is all there is.
        let _ = helper.kill();
    }
    let output = helper.wait_with_output()?;
    match received {
        Ok(fd) if output.status.success() => Ok(fd),
        received => {
            let said = String::from_utf8_lossy(&output.stderr);
            let why = match (advice(&said), received) {
                (Some(advice), _) => advice.to_owned(),
                (None, Err(err)) if said.trim().is_empty() => {
                    format!("{} sent no device: {err}", program.display())
                }
                _ => one_line(&said),
            };
            Err(refused(why))
        }
    }
}

/// Unmounts through the helper. It lets users unmount only what they mounted.
pub(super) fn unmount(mountpoint: &Path, way: Way) -> Result<(), MountError> {
    let stuck = |why: String| MountError::Stuck {
        mountpoint: mountpoint.to_owned(),
        why,
    };
    let program = find().ok_or_else(|| stuck(ADVICE.into()))?;
    let output = Command::new(&program)
        .arg(match way {
            Way::Whole => "-u",
            Way::Lazy => "-uz",
        })
        .arg("--")
        .arg(mountpoint)
        .env_remove(KEY_VARIABLE)
        .stdin(Stdio::null())
        .output()
        .map_err(|err| stuck(format!("{}: {err}", program.display())))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(())
    } else if said.contains("busy") {
        Err(MountError::Busy {
            mountpoint: mountpoint.to_owned(),
        })
    } else {
        Err(stuck(one_line(&said)))
    }
}

/// The options as fusermount3 takes them; it adds nosuid and nodev itself.
fn option_list(options: &Options) -> OsString {
    let mut list = shared_options(options);
    list.push("subtype=fichierfs");
    list.push(if options.read_only { "ro" } else { "rw" });
    if options.noexec {
        list.push("noexec");
    }
    if options.noatime {
        list.push("noatime");
    }
    format!("fsname={},{}", source(&options.account), list.join(",")).into()
}

/// Waits for the one descriptor the helper sends.
fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let buffers = &mut [IoSliceMut::new(&mut byte)];
        match recvmsg(socket, buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("more than one descriptor came"));
    }
    ancillary
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// What to do about the refusals of fusermount3 that have a remedy.
fn advice(said: &str) -> Option<&'static str> {
    if said.contains("user_allow_other") {
        Some(super::check::ALLOW_OTHER_ADVICE)
    } else if said.contains("too many FUSE filesystems") {
        Some("too many FUSE mounts on this machine; see mount_max in /etc/fuse.conf")
    } else {
        None
    }
}

fn one_line(said: &str) -> String {
    let words: Vec<&str> = said.split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::io::{IoSlice, Read, Write};
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_descriptor_comes_through_the_socket() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [writer.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(
            &theirs,
            &[IoSlice::new(&[0])],
            &mut ancillary,
            SendFlags::empty(),
        )
        .unwrap();
        drop(writer);
        let received = receive(&ours).unwrap();
        std::fs::File::from(received).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn a_helper_that_sends_nothing_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(receive(&ours).is_err());
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&[0]).unwrap();
        assert!(receive(&ours).is_err());
    }

    /// Variables that tell the stand-in what it was called with.
    const STAND_IN: [&str; 2] = ["STAND_IN_OPTIONS", "STAND_IN_MOUNTPOINT"];

    /// A program that does what its script says; `$EXE` is this very test binary.
    fn program(dir: &Path, script: &str) -> PathBuf {
        let path = dir.join("fusermount3");
        let exe = std::env::current_exe().unwrap();
        let text = format!("#!/bin/sh\nEXE={}\n{script}\n", exe.display());
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn options() -> Options {
        Options {
            account: "work".parse().unwrap(),
            read_only: true,
            allow_other: true,
            noexec: true,
            noatime: false,
        }
    }

    /// Not a test: what plays fusermount3 in the test below, as a process of its own.
    #[test]
    #[ignore = "runs only as a part of another test"]
    fn stand_in() {
        let [Some(list), Some(mountpoint)] = STAND_IN.map(std::env::var_os) else {
            return;
        };
        assert_eq!(std::env::var(SOCKET_VARIABLE).unwrap(), "0");
        assert_eq!(list, option_list(&options()));
        let device = std::fs::File::options()
            .read(true)
            .write(true)
            .open(super::super::kernel::DEVICE)
            .unwrap();
        let data = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            device.as_raw_fd()
        );
        nix::mount::mount(
            Some("fichierfs:work"),
            Path::new(&mountpoint),
            Some("fuse.fichierfs"),
            nix::mount::MsFlags::empty(),
            Some(data.as_str()),
        )
        .unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [device.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        let data = [IoSlice::new(&[0])];
        sendmsg(io::stdin(), &data, &mut ancillary, SendFlags::empty()).unwrap();
    }

    #[test]
    fn a_helper_mounts_and_hands_the_device_over() {
        if !nix::unistd::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
            eprintln!("SKIPPED a_helper_mounts_and_hands_the_device_over: needs root, /dev/fuse");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mountpoint = dir.path().canonicalize().unwrap().join("mnt");
        std::fs::create_dir(&mountpoint).unwrap();
        let script = "STAND_IN_OPTIONS=$2 STAND_IN_MOUNTPOINT=$4 exec $EXE --ignored --exact \
                      mount::fusermount::tests::stand_in";
        let device = mount_with(&program(dir.path(), script), &mountpoint, &options());
        let entry = super::super::mountinfo::top_at(&mountpoint).unwrap();
        super::super::kernel::unmount(&mountpoint, Way::Lazy).unwrap();
        assert_eq!(entry.unwrap().account(), Some("work"));
        // Reading from what came must tell of the unmount, as only the FUSE device does.
        let mut device = std::fs::File::from(device.unwrap());
        let err = device.read(&mut vec![0; 1 << 20]).unwrap_err();
        assert_eq!(err.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn a_helper_that_refuses_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = |script| {
            let program = program(dir.path(), script);
            let refused = mount_with(&program, Path::new("/mnt/x"), &options());
            refused.unwrap_err().to_string()
        };
        let err = refusal("echo 'fusermount3: mount failed: No such device' >&2; exit 1");
        assert!(
            err.contains("/mnt/x") && err.contains("No such device"),
            "{err}"
        );
        let err = refusal("echo \"only allowed if 'user_allow_other' is set\" >&2; exit 1");
        assert!(err.contains("ask root"), "{err}");
        let err = refusal("exit 0");
        assert!(err.contains("sent no device"), "{err}");
    }

    #[test]
    fn the_option_list_holds_what_was_asked_for() {
        assert_eq!(
            option_list(&options()),
            "fsname=fichierfs:work,default_permissions,allow_other,subtype=fichierfs,ro,noexec"
        );
    }

    #[test]
    fn known_refusals_become_advice() {
        let said = "fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf\n";
        assert!(advice(said).unwrap().contains("/etc/fuse.conf"));
        assert_eq!(advice("fusermount3: mount failed"), None);
        assert_eq!(one_line(" a\nb \n"), "a b");
    }
}
