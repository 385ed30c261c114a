//! The real mount(8), umount(8), findmnt(8) and `mount -a` with the program as their helper, in a mount
//! namespace of their own, where it stands in /sbin as a package would put it there.
use super::harness::{assert_well_behaved, can_mount};
use fake_1fichier::Fake;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Virtual seconds per second: what settles for 5 s is sent after a quarter of one.
const FACTOR: &str = "20";

/// What every script begins with: helpers in /sbin, a device for every user (as udev makes it), functions.
const PRELUDE: &str = r#"
set -euo pipefail
mount -t overlay overlay -o lowerdir="$T/links:/usr/sbin" /usr/sbin
mknod "$T/fuse" c 10 229; chmod 666 "$T/fuse"; mount --bind "$T/fuse" /dev/fuse
trap 'umount -l "$T/mnt" 2>/dev/null || true' EXIT
fichierfs() { "$PROGRAM" "$@"; }
# Prints what the kernel says of the mount, or nothing.
shown() { findmnt -n -o SOURCE,FSTYPE --mountpoint "$T/mnt" || true; }
serving() { pgrep -f -- "--detached.*$T/mnt" || true; }
as_user() { setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; }
# The exit code of a command that fails; what it says goes to standard error.
code() { local rc=0; "$@" || rc=$?; echo "$rc"; }
same() { [ "$2" = "$3" ] || { echo "$1: '$2', not '$3'" >&2; exit 1; }; }
"#;

/// A machine of its own, as far as mount(8) can tell.
struct Machine {
    folder: TempDir,
    fake: Fake,
}

impl Machine {
    /// `None` where nothing can be mounted.
    fn new() -> Option<Self> {
        let may = nix_root() && can_mount() && has("unshare") && has("findmnt") && has("setpriv");
        if !may {
            eprintln!("!!! SKIPPED: mount(8) was not tested: needs root and /dev/fuse !!!");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["links", "mnt", "home", "state", "cache"] {
            fs::create_dir(at(name)).unwrap();
        }
        // A copy, since ordinary users need not be let into the folder it was built in.
        let program = at("fichierfs");
        let built = env!("CARGO_BIN_EXE_fichierfs");
        if fs::hard_link(built, &program).is_err() {
            fs::copy(built, &program).unwrap();
        }
        for name in [
            "mount.fichierfs",
            "mount.fuse.fichierfs",
            "umount.fuse.fichierfs",
        ] {
            symlink(&program, at("links").join(name)).unwrap();
        }
        let fake = Fake::builder()
            .clock(FACTOR)
            .config(|config| config.enforce_rules = true)
            .start()
            .unwrap();
        fs::write(at("key"), fake.key()).unwrap();
        fs::set_permissions(at("key"), fs::Permissions::from_mode(0o600)).unwrap();
        Some(Self { folder, fake })
    }

    /// Runs a script to its end; it must succeed.
    fn run(&self, script: &str) {
        let place = self.folder.path();
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "bash", "-c"])
            .arg(format!("{PRELUDE}{script}"))
            .env("T", place)
            .env("PROGRAM", place.join("fichierfs"))
            .env("URL", self.fake.api_url())
            .env("OPTIONS", self.options())
            .env("HOME", place.join("home"))
            .env("FICHIERFS_CLOCK", FACTOR)
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Where everything is, as mount options.
    fn options(&self) -> String {
        let place = self.folder.path().display();
        format!(
            "api_url={},api_key_file={place}/key,state_dir={place}/state,cache_dir={place}/cache",
            self.fake.api_url()
        )
    }

    fn content(&self, name: &str) -> Option<Vec<u8>> {
        let account = self.fake.account();
        let mut files = account.tree().into_iter().flat_map(|folder| folder.files);
        let file = files.find(|file| file.name == name)?;
        account.read_all(&file.url).map(|bytes| bytes.to_vec())
    }
}

fn nix_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

fn has(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output();
    found.is_ok_and(|output| output.status.success())
}

#[test]
fn a_line_of_fstab_is_mounted_once_and_its_end_waits_for_the_uploads() {
    let Some(machine) = Machine::new() else {
        return;
    };
    machine.run(
        r#"
fichierfs fstab -q --automount --api-url "$URL" --api-key-file "$T/key" --state-dir "$T/state" \
  --cache-dir "$T/cache" -o noatime,comment=x,x-systemd.mount-timeout=2min work "$T/mnt" >"$T/fstab"
findmnt --verify --tab-file "$T/fstab" 2>&1 | grep '0 parse errors, 0 errors'
mount -a -T "$T/fstab"
same mounted "$(shown)" "fichierfs:work fuse.fichierfs"
findmnt -n -o OPTIONS --mountpoint "$T/mnt" | grep -q 'rw,nosuid,nodev,noatime'
mount -a -T "$T/fstab"
same "once" "$(shown | wc -l)" 1
echo "over the wire" >"$T/mnt/letter"
head -c 3000000 /dev/zero >"$T/mnt/zeros"
(cd "$T/mnt"; same busy "$(code umount "$T/mnt" 2>"$T/said")" 32)
grep -q 'in use by' "$T/said"
umount "$T/mnt"
same gone "$(shown)" ""
same ended "$(serving)" ""
"#,
    );
    assert_eq!(machine.content("letter").unwrap(), b"over the wire\n");
    assert_eq!(machine.content("zeros").unwrap(), vec![0; 3_000_000]);
    assert_well_behaved(&machine.fake);
}

#[test]
fn mount_understands_what_is_typed_and_fails_with_its_own_codes() {
    let Some(machine) = Machine::new() else {
        return;
    };
    machine.fake.account().add_bytes(0, "film", "moving");
    machine.run(
        r#"
mount -t fichierfs -o "$OPTIONS,ro" work "$T/mnt"
same mounted "$(shown)" "fichierfs:work fuse.fichierfs"
same content "$(cat "$T/mnt/film")" moving
same written "$(code sh -c "echo x 2>&1 >'$T/mnt/film'" 2>/dev/null | tail -n 1)" 2
same remount "$(code mount -o remount,rw "$T/mnt" 2>"$T/said")" 1
grep -q 'mount it again' "$T/said"
umount "$T/mnt"
for _ in $(seq 200); do [ -z "$(serving)" ] && break; sleep 0.05; done
same ended "$(serving)" ""

mount -t fichierfs -f -o "$OPTIONS" work "$T/mnt"
same fake "$(shown)" ""
same unknown "$(code mount -t fichierfs -o frobnicate,"$OPTIONS" work "$T/mnt" 2>"$T/said")" 1
grep -q 'frobnicate: no such mount option' "$T/said"
mount -t fichierfs -s -n -v -o "frobnicate,_netdev,nofail,$OPTIONS" fichierfs:work "$T/mnt"
same sloppy "$(shown)" "fichierfs:work fuse.fichierfs"
umount -l "$T/mnt"
for _ in $(seq 200); do [ -z "$(serving)" ] && break; sleep 0.05; done

same account "$(code mount -t fichierfs ../x "$T/mnt" 2>"$T/said")" 1
same key "$(code mount -t fichierfs -o "$OPTIONS,api_key_file=$T/none" work "$T/mnt" 2>"$T/said")" 32
grep -q 'key file' "$T/said"
same folder "$(code mount -t fichierfs -o "$OPTIONS" work "$T/nowhere" 2>"$T/said")" 32
same option "$(code mount -t fichierfs -o "$OPTIONS,cache_size=lots" work "$T/mnt" 2>"$T/said")" 1
grep -q 20GB "$T/said"
same nothing "$(shown)" ""
same helper "$(code umount.fuse.fichierfs 2>/dev/null)" 1
same helper "$(code umount.fuse.fichierfs "$T/mnt" 2>"$T/said")" 32
grep -q 'nothing is mounted' "$T/said"
"#,
    );
    assert_well_behaved(&machine.fake);
}

#[test]
fn a_user_mounts_what_fstab_lets_users_mount() {
    let Some(machine) = Machine::new() else {
        return;
    };
    machine.run(
        r#"
rm -r "$T/state" "$T/cache"; mkdir "$T/own"; chown nobody:nogroup "$T/own" "$T/key" "$T/mnt"
fichierfs fstab -q --user --api-url "$URL" --api-key-file "$T/key" --state-dir "$T/own/state" \
  --cache-dir "$T/own/cache" mine "$T/mnt" >"$T/fstab"
[ -e /etc/fstab ] || exit 0
mount --bind "$T/fstab" /etc/fstab
as_user mount "$T/mnt"
same mounted "$(shown)" "fichierfs:mine fuse.fichierfs"
as_user sh -c "echo mine >'$T/mnt/mine'"
same owner "$(as_user stat -c %U "$T/mnt/mine")" nobody
same foreign "$(code setpriv --reuid=daemon --regid=daemon --clear-groups umount "$T/mnt" 2>/dev/null)" 32
as_user umount "$T/mnt"
same gone "$(shown)" ""
same ended "$(serving)" ""
"#,
    );
    assert_eq!(machine.content("mine").unwrap(), b"mine\n");
    assert_well_behaved(&machine.fake);
}
