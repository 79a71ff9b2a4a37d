//! What SELinux and AppArmor do on this host. Changes neither.

use std::path::Path;

use facts::{SeLinux, Seen};

use super::SOURCE_BYTES_MAX;
use crate::files;

/// Programs of the server, by the names AppArmor profiles have for them.
const SERVER_PROGRAMS: [&str; 2] = ["mariadbd", "mysqld"];

/// SELinux's mode; absent where the kernel has none.
pub(super) fn selinux(root: &Path) -> Seen<SeLinux> {
    match files::read_text(&root.join("sys/fs/selinux/enforce"), SOURCE_BYTES_MAX) {
        Ok(text) => match text.trim() {
            "1" => Seen::Known(SeLinux::Enforcing),
            "0" => Seen::Known(SeLinux::Permissive),
            other => Seen::Unknown(format!("/sys/fs/selinux/enforce says `{other}`")),
        },
        // Without its file system SELinux is off; its configuration tells whether it could be on.
        Err(error) if error.is_missing() && root.join("etc/selinux/config").exists() => {
            Seen::Known(SeLinux::Disabled)
        }
        Err(error) if error.is_missing() => Seen::Absent,
        Err(error) => Seen::Unknown(crate::reason(&error)),
    }
}

/// AppArmor's mode for the server's program; absent without AppArmor or without a profile for it.
pub(super) fn apparmor(root: &Path) -> Seen<String> {
    match files::read_text(&root.join("sys/kernel/security/apparmor/profiles"), SOURCE_BYTES_MAX) {
        Ok(text) => parse_profiles(&text).map_or(Seen::Absent, |mode| Seen::Known(mode.to_owned())),
        Err(error) if error.is_missing() => apparmor_parameter(root),
        Err(error) => Seen::Unknown(crate::reason(&error)),
    }
}

/// Without the security file system, AppArmor's own parameter tells whether it is there.
fn apparmor_parameter(root: &Path) -> Seen<String> {
    match files::read_text(&root.join("sys/module/apparmor/parameters/enabled"), SOURCE_BYTES_MAX) {
        Ok(text) if text.trim() == "Y" => Seen::Unknown(
            "AppArmor is on and its profiles are not visible: securityfs is not mounted".to_owned(),
        ),
        Ok(_) => Seen::Absent,
        Err(error) if error.is_missing() => Seen::Absent,
        Err(error) => Seen::Unknown(crate::reason(&error)),
    }
}

/// The mode of the server's profile in a list of `NAME (MODE)` lines. A profile is named by path or by word.
fn parse_profiles(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let (name, mode) = line.trim().strip_suffix(')')?.rsplit_once(" (")?;
        // `//` separates a profile from its children, which are not the server itself.
        let program = if name.contains("//") { return None } else { name.rsplit('/').next()? };
        SERVER_PROGRAMS.contains(&program).then_some(mode)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::{Ownership, write_atomic};

    fn root_with(path: &str, text: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_atomic(&path, text.as_bytes(), &Ownership::mode(0o644)).unwrap();
        root
    }

    #[test]
    fn selinux_modes() {
        let enforce = "sys/fs/selinux/enforce";
        assert_eq!(selinux(root_with(enforce, "1").path()), Seen::Known(SeLinux::Enforcing));
        assert_eq!(selinux(root_with(enforce, "0\n").path()), Seen::Known(SeLinux::Permissive));
        assert!(matches!(selinux(root_with(enforce, "?").path()), Seen::Unknown(_)));
        assert_eq!(selinux(root_with("etc/selinux/config", "").path()), Seen::Known(SeLinux::Disabled));
        assert_eq!(selinux(tempfile::tempdir().unwrap().path()), Seen::Absent);
    }

    #[test]
    fn apparmor_modes() {
        let profiles = "sys/kernel/security/apparmor/profiles";
        let cases = [
            ("/usr/sbin/mysqld (enforce)\n/usr/bin/man (enforce)\n", Seen::Known("enforce".to_owned())),
            ("man_groff (enforce)\nmariadbd (complain)\n", Seen::Known("complain".to_owned())),
            ("/usr/sbin/mysqld//helper (enforce)\n/usr/sbin/mysqld-not (enforce)\n", Seen::Absent),
            ("", Seen::Absent),
        ];
        for (text, wanted) in cases {
            assert_eq!(apparmor(root_with(profiles, text).path()), wanted, "{text}");
        }
        let parameter = "sys/module/apparmor/parameters/enabled";
        assert!(matches!(apparmor(root_with(parameter, "Y\n").path()), Seen::Unknown(_)));
        assert_eq!(apparmor(root_with(parameter, "N\n").path()), Seen::Absent);
        assert_eq!(apparmor(tempfile::tempdir().unwrap().path()), Seen::Absent);
    }
}
