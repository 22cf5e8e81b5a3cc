//! Names for the user of a container. Programs ask for the name of their user, and some end if
//! there is none. Two small files of ours replace those of the image.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::container::Bind;
use crate::settings::User;

/// Where the files are in the job's directory, and where they appear.
const FILES: [(&str, &str); 2] =
    [(".longshore/passwd", "/etc/passwd"), (".longshore/group", "/etc/group")];

/// The name of a user or group that no image knows.
const NAME: &str = "job";

/// The names that programs expect on any Linux.
const KNOWN: [(&str, u32); 6] =
    [("root", 0), ("daemon", 1), ("bin", 2), ("sys", 3), ("www-data", 33), ("nobody", 65534)];

/// Writes the names for a container that runs as `user`. Call it again if the user changes.
///
/// # Errors
///
/// If a file cannot be written.
pub(super) fn write(root: &Path, user: User) -> io::Result<()> {
    let texts = [passwd(user.uid, user.gid), group(user.gid)];
    for ((place, _), text) in FILES.iter().zip(texts) {
        let path = root.join(place);
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// The mounts of the two files.
pub(super) fn binds(root: &Path) -> impl Iterator<Item = Bind> {
    FILES.iter().map(|(place, container)| Bind {
        host: root.join(place),
        container: (*container).to_owned(),
        read_only: true,
    })
}

fn passwd(uid: u32, gid: u32) -> String {
    let line = |(name, id): (&str, u32)| match id {
        _ if id == uid => format!("{name}:x:{id}:{gid}:{name}:/tmp:/bin/sh\n"),
        0 => "root:x:0:0:root:/root:/bin/sh\n".to_owned(),
        _ => format!("{name}:x:{id}:{id}:{name}:/:/usr/sbin/nologin\n"),
    };
    with_job(uid).map(line).collect()
}

fn group(gid: u32) -> String {
    let line = |(name, id): (&str, u32)| format!("{name}:x:{id}:\n");
    with_job(gid).map(line).collect()
}

/// The known names, and one more for an id that is not among them.
fn with_job(id: u32) -> impl Iterator<Item = (&'static str, u32)> {
    let is_known = KNOWN.iter().any(|(_, known)| *known == id);
    KNOWN.into_iter().chain((!is_known).then_some((NAME, id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_and_its_group_have_names_and_a_home_that_can_be_written() {
        assert!(passwd(65532, 65533).ends_with("\njob:x:65532:65533:job:/tmp:/bin/sh\n"));
        assert!(passwd(65532, 65533).starts_with("root:x:0:0:root:/root:/bin/sh\n"));
        assert!(group(65533).ends_with("\njob:x:65533:\n"));
    }

    #[test]
    fn a_user_that_has_a_name_anywhere_keeps_it() {
        assert!(passwd(65534, 7).ends_with("\nnobody:x:65534:7:nobody:/tmp:/bin/sh\n"));
        assert!(passwd(0, 0).starts_with("root:x:0:0:root:/tmp:/bin/sh\n"));
        assert!(!passwd(0, 0).contains("job"));
        assert!(!group(0).contains("job"));
    }

    #[test]
    fn everybody_can_read_them_and_they_can_be_written_again() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join(".longshore")).unwrap();
        for uid in [1000, 70000] {
            write(temp.path(), User { uid, gid: 5 }).unwrap();
            let path = temp.path().join(".longshore/passwd");
            assert!(fs::read_to_string(&path).unwrap().contains(&format!("job:x:{uid}:5:")));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        }
        let binds: Vec<_> =
            binds(temp.path()).map(|bind| (bind.container, bind.read_only)).collect();
        assert_eq!(binds, [("/etc/passwd".to_owned(), true), ("/etc/group".to_owned(), true)]);
    }
}
