//! The method itself: a synced file survives the power, one that was only written does not, and
//! nothing is left behind.

use std::fs;
use std::io::Write as _;

use super::*;
use crate::wait::wait_until;

/// The system may write something back by itself at any moment, if rarely.
const TRIES: usize = 4;

/// Whether to go on; says why not.
async fn possible() -> bool {
    match LoopImage::why_not().await {
        None => true,
        Some(reason) => {
            eprintln!("SKIPPED, no power is cut: {reason}");
            false
        }
    }
}

fn write(path: &Path, content: &[u8]) -> fs::File {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(content).unwrap();
    file
}

/// Writes three files, cuts the power, and says which are whole afterwards: one synced, one written
/// only, one replaced by renaming something that was written only.
async fn whole_after_a_cut() -> [bool; 3] {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("mount");
    fs::create_dir(&at).unwrap();
    let mut disk = LoopImage::create(&dir.path().join("disk"), 32)
        .await
        .unwrap();
    disk.mount(&at).await.unwrap();
    let content = vec![7_u8; 100_000];
    write(&at.join("replaced"), b"old").sync_all().unwrap();
    write(&at.join("synced"), &content).sync_all().unwrap();
    fs::File::open(&at).unwrap().sync_all().unwrap();
    write(&at.join("written"), &content);
    write(&at.join("aside"), &content);
    fs::rename(at.join("aside"), at.join("replaced")).unwrap();
    let mut after = disk.copy_received(&dir.path().join("after")).await.unwrap();
    disk.unmount().await.unwrap();
    after.mount(&at).await.unwrap();
    let whole = |name: &str| fs::read(at.join(name)).is_ok_and(|found| found == content);
    let found = ["synced", "written", "replaced"].map(whole);
    after.unmount().await.unwrap();
    found
}

#[tokio::test]
async fn only_what_was_synced_survives() {
    if !possible().await {
        return;
    }
    let mut lost = [false; 2];
    for _ in 0..TRIES {
        let [synced, written, replaced] = whole_after_a_cut().await;
        assert!(
            synced,
            "a synced file is lost: the copy is not what the device has"
        );
        lost[0] |= !written;
        lost[1] |= !replaced;
        if lost == [true; 2] {
            return;
        }
    }
    panic!("what nobody synced survived {TRIES} cuts ({lost:?}): this method shows nothing here");
}

#[tokio::test]
async fn nothing_is_left_behind() {
    if !possible().await {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("mount");
    fs::create_dir(&at).unwrap();
    let file = dir.path().join("disk");
    let mut disk = LoopImage::create(&file, 16).await.unwrap();
    disk.mount(&at).await.unwrap();
    assert!(disk.mount(&at).await.is_err(), "mounted twice");
    let mounts = || fs::read_to_string("/proc/mounts").unwrap();
    let shown = at.to_str().unwrap();
    assert!(mounts().contains(shown) && attached(&file));
    // In use, so it cannot be unmounted; it goes away all the same when it is dropped.
    let used = fs::File::create(at.join("used")).unwrap();
    assert!(disk.unmount().await.is_err());
    drop(disk);
    assert!(!mounts().contains(shown) && !file.try_exists().unwrap());
    drop(used);
    wait_until(COMMAND_TIMEOUT, "the loop device is free", async || {
        Ok((!attached(&file)).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_guardian_unmounts_when_nobody_drops() {
    if !possible().await {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("mount");
    fs::create_dir(&at).unwrap();
    let file = dir.path().join("disk");
    let mut disk = LoopImage::create(&file, 16).await.unwrap();
    disk.mount(&at).await.unwrap();
    // What the system does when this process is killed.
    let mount = disk.mount.as_mut().unwrap();
    drop(mount.guardian.stdin.take());
    wait_until(COMMAND_TIMEOUT, "the end of mount and device", async || {
        let mounts = fs::read_to_string("/proc/mounts")?;
        let gone = !mounts.contains(&*at.to_string_lossy()) && !attached(&file);
        Ok(gone.then_some(()))
    })
    .await
    .unwrap();
    disk.mount.as_mut().unwrap().mounted = false;
}

/// Whether a loop device stands for a file, removed or not.
fn attached(file: &Path) -> bool {
    let output = Command::new("losetup").arg("--all").output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains(file.to_str().unwrap())
}
