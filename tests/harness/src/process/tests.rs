//! Real children: `sh` and `sleep`.

use std::os::unix::process::ExitStatusExt as _;

use super::*;

const SOON: Duration = Duration::from_secs(10);

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn is_alive(pid: Pid) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie nobody has reaped yet is dead all the same.
    !state.is_empty() && !state.contains(") Z ")
}

async fn wait_for_line(process: &mut Process) -> String {
    wait_until(SOON, "a line", async || {
        Ok(process.stdout()?.lines().next().map(str::to_owned))
    })
    .await
    .unwrap()
}

async fn wait_for_end(pid: Pid) {
    wait_until(SOON, "the end of a grandchild", async || {
        Ok((!is_alive(pid)).then_some(()))
    })
    .await
    .unwrap();
}

/// A process with a child of its own, whose id it prints.
async fn with_child(logs: &Path) -> (Process, Pid) {
    let mut process = Process::start("parent", sh("sleep 600 & echo $!; wait"), logs).unwrap();
    let id = wait_for_line(&mut process).await.parse().unwrap();
    (process, Pid::from_raw(id).unwrap())
}

#[tokio::test]
async fn dropping_kills_the_whole_group() {
    let logs = tempfile::tempdir().unwrap();
    let (process, child) = with_child(logs.path()).await;
    let (parent, guardian) = (process.pid, Pid::from_child(&process.guardian));
    assert!(is_alive(child) && is_alive(parent) && is_alive(guardian));
    drop(process);
    assert!(!is_alive(parent) && !is_alive(guardian));
    wait_for_end(child).await;
}

#[tokio::test]
async fn the_guardian_kills_when_nobody_drops() {
    let logs = tempfile::tempdir().unwrap();
    let (mut process, child) = with_child(logs.path()).await;
    // What the system does when this process is killed.
    drop(process.guardian.stdin.take());
    wait_for_end(child).await;
    let status = wait_until(SOON, "the end", async || process.exited())
        .await
        .unwrap();
    assert_eq!(status.signal(), Some(9));
}

#[tokio::test]
async fn what_a_process_leaves_behind_is_killed_when_its_end_is_seen() {
    let logs = tempfile::tempdir().unwrap();
    let mut process =
        Process::start("short", sh("sleep 600 & echo $!; exit 3"), logs.path()).unwrap();
    let status = wait_until(SOON, "the end", async || process.exited())
        .await
        .unwrap();
    assert_eq!(status.code(), Some(3));
    let child = Pid::from_raw(wait_for_line(&mut process).await.parse().unwrap()).unwrap();
    wait_for_end(child).await;
    assert!(
        process.signal(Signal::TERM).is_err(),
        "an ended process takes no signal"
    );
}

#[tokio::test]
async fn stop_asks_and_pause_holds() {
    let logs = tempfile::tempdir().unwrap();
    let script = "trap 'echo bye >&2; exit 7' TERM; echo up; while :; do sleep 0.01; done";
    let mut process = Process::start("polite", sh(script), logs.path()).unwrap();
    wait_for_line(&mut process).await;
    process.pause().unwrap();
    let error = process.stop(Duration::from_millis(200)).await.unwrap_err();
    assert!(format!("{error:#}").contains("SIGTERM"), "{error:#}");
    process.resume().unwrap();
    assert_eq!(process.stop(SOON).await.unwrap().code(), Some(7));
    assert_eq!(process.stderr().unwrap(), "bye\n");
    assert!(process.log_tail().contains("bye"));
}

#[tokio::test]
async fn kill_is_at_once_even_when_paused() {
    let logs = tempfile::tempdir().unwrap();
    let (mut process, child) = with_child(logs.path()).await;
    process.pause().unwrap();
    process.kill().unwrap();
    assert_eq!(process.exited().unwrap().unwrap().signal(), Some(9));
    wait_for_end(child).await;
}

#[tokio::test]
async fn run_gives_output_and_keeps_its_time() {
    let output = run(sh("echo out; echo err >&2; exit 2"), SOON)
        .await
        .unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"out\n"[..], &b"err\n"[..])
    );
    assert_eq!(output.status.code(), Some(2));
    let error = run(sh("echo why >&2; sleep 600"), Duration::from_millis(300))
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("why"), "{error:#}");
    assert!(run(Command::new("/no/such/program"), SOON).await.is_err());
}
