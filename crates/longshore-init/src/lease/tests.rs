use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

const BOOT: &str = "11111111-2222-3333-4444-555555555555";
const OTHER: &str = "99999999-2222-3333-4444-555555555555";

fn lease(stamp: &str, seconds: u64, until: Option<(u64, &str)>) -> Lease {
    let until = until.map(|(seconds, boot)| Until { seconds, boot: boot.to_owned() });
    Lease { stamp: stamp.to_owned(), seconds, until }
}

fn watch() -> Watch {
    Watch::new(Some(BOOT.to_owned()))
}

/// The first second at which the bot is ended, when nothing else is written after this lease.
fn end_after(mut watch: Watch, now: u64, first: &Lease) -> Option<u64> {
    (now..now + 1000).find(|second| watch.look(*second, Some(first)))
}

#[test]
fn a_lease_ends_early_by_the_time_of_its_proof() {
    assert_eq!(end_after(watch(), 105, &lease("1", 15, Some((115, BOOT)))), Some(112));
}

#[test]
fn a_lease_of_another_kernel_or_without_an_end_counts_from_when_it_is_seen() {
    for until in [Some((107, OTHER)), None] {
        assert_eq!(end_after(watch(), 105, &lease("1", 15, until)), Some(117), "{until:?}");
    }
    let unknown = Watch::new(None);
    assert_eq!(end_after(unknown, 105, &lease("1", 15, Some((107, BOOT)))), Some(117));
}

#[test]
fn an_end_that_is_too_far_away_is_told_in_another_time() {
    // The first lease is shorter from when it is seen than it is by its proof.
    assert_eq!(end_after(watch(), 100, &lease("1", 12, Some((115, BOOT)))), Some(112));
    assert_eq!(end_after(watch(), 100, &lease("1", 12, Some((116, BOOT)))), Some(109));
}

#[test]
fn a_lease_that_is_renewed_in_time_never_ends() {
    let mut watch = watch();
    for now in (100..1000).step_by(2) {
        assert!(
            !watch.look(now, Some(&lease(&now.to_string(), 15, Some((now + 15, BOOT))))),
            "{now}"
        );
    }
}

#[test]
fn the_same_stamp_again_is_no_new_lease() {
    let mut watch = watch();
    assert!(!watch.look(100, Some(&lease("1", 15, None))));
    assert!(!watch.look(111, Some(&lease("1", 15, None))));
    assert!(watch.look(112, Some(&lease("1", 15, None))));
}

#[test]
fn a_lease_that_is_gone_or_unreadable_runs_out_and_one_that_was_never_seen_does_not() {
    let mut watch = watch();
    for now in 0..1000 {
        assert!(!watch.look(now, None));
    }
    assert!(!watch.look(1000, Some(&lease("1", 15, None))));
    assert!(!watch.look(1011, None));
    assert!(watch.look(1012, None));
}

#[test]
fn a_lease_that_is_seen_after_its_end_ends_at_once() {
    assert!(watch().look(200, Some(&lease("1", 15, Some((115, BOOT))))));
}

#[test]
fn no_number_is_too_large() {
    assert!(!watch().look(u64::MAX - 10, Some(&lease("1", u64::MAX, Some((u64::MAX, OTHER))))));
    assert!(watch().look(u64::MAX, Some(&lease("1", 15, None))), "a clock that tells nothing");
}

#[test]
fn a_whole_lease_is_read() {
    let text = format!("{:<48} {:<10}\n{:<12} {BOOT} {:<48}\n", "7.1", 15, 115, "7.1");
    assert_eq!(Lease::parse(&text), Some(lease("7.1", 15, Some((115, BOOT)))));
    assert_eq!(Lease::parse("7.1 15\n- - 7.1\n"), Some(lease("7.1", 15, None)));
}

#[test]
fn a_lease_that_is_not_whole_is_none() {
    for text in [
        "",
        "\n",
        "7.1 15",
        "7.1 15\n",
        "7.1 15\n115 boot 7.1",
        "7.1 15\n115 boot 7.2\n",
        "7.1 15\n115 7.1\n",
        "7.1\n115 boot 7.1\n",
        "7.1 15 16\n115 boot 7.1\n",
        "7.1 x\n115 boot 7.1\n",
        "7.1 -1\n115 boot 7.1\n",
    ] {
        assert_eq!(Lease::parse(text), None, "{text:?}");
    }
}

#[test]
fn whatever_lies_in_its_place_nobody_waits_for_it() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join(OWN_FOLDER);
    fs::create_dir(&folder).unwrap();
    let file = LeaseFile::of(temp.path());
    assert!(!file.is_there());
    assert_eq!(file.read(), None);
    let text = "7.1 15\n- - 7.1\n";
    fs::write(&file.0, text).unwrap();
    assert!(file.is_there() && file.read().is_some());
    fs::write(&file.0, format!("{text}{}", "x".repeat(1 << 20))).unwrap();
    assert!(file.read().is_some(), "no more of it is read than it has");
    fs::remove_file(&file.0).unwrap();
    mkfifo(&file.0, Mode::S_IRWXU).unwrap();
    assert_eq!(file.read(), None);
    fs::remove_file(&file.0).unwrap();
    let elsewhere = temp.path().join("elsewhere");
    fs::write(&elsewhere, text).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file.0).unwrap();
    assert_eq!(file.read(), None);
}

#[test]
fn the_kernels_clock_counts_and_says_which_start_it_counts_from() {
    let clock = Clock::of_kernel();
    assert_eq!(clock.boot().map(|boot| boot.len()), Some(36));
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: u64 = uptime.split('.').next().unwrap().parse().unwrap();
    assert!(clock.now().abs_diff(seconds) <= 1);
}
