//! Files of events through deaths of their core: what was acknowledged is there, what was not
//! leaves nothing, and addresses that were given out stay good.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Http, wait_until};
use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::PATIENCE;
use crate::people::Person;

const BEGINNING: &str = "--X\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\n\
    {\"streamIds\":[\"notes\"],\"type\":\"file/attached\"}\r\n--X\r\n\
    Content-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n";
const END: &str = "\r\n--X--\r\n";

/// Sends a file; the event, and the address of the file that needs no other credential.
async fn send(http: &Http, person: &Person, content: &str) -> anyhow::Result<(String, String)> {
    let body = format!("{BEGINNING}{content}{END}");
    let request = http
        .build(Method::POST, &person.url("events"))
        .header("Authorization", &person.token)
        .header("Content-Type", "multipart/form-data; boundary=X")
        .body(body);
    let event = http.send(request).await?.expect(201)?;
    let text = |pointer: &str| {
        let found = event.pointer(pointer).and_then(Value::as_str);
        found.map(str::to_owned).context("the event has no file")
    };
    let id = text("/event/id")?;
    let file = text("/event/attachments/0/id")?;
    let token = text("/event/attachments/0/readToken")?;
    let address = person.url(&format!("events/{id}/{file}/a.bin?readToken={token}"));
    Ok((id, address))
}

/// Sends a megabyte of a file and no more.
async fn begin(person: &Person) -> anyhow::Result<TcpStream> {
    let place = person.home.strip_prefix("http://").context("no HTTP")?;
    let place = place.trim_end_matches('/');
    let head = format!(
        "POST /{}/events HTTP/1.1\r\nHost: {place}\r\nAuthorization: {}\r\n\
         Content-Type: multipart/form-data; boundary=X\r\nContent-Length: 2000000\r\n\r\n",
        person.username, person.token
    );
    let begun = format!("{head}{BEGINNING}{}", "x".repeat(1024 * 1024));
    let mut stream = TcpStream::connect(place).await?;
    stream.write_all(begun.as_bytes()).await?;
    Ok(stream)
}

/// Every file below a folder that is a blob, or on its way to be one.
fn blobs(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(blobs(&path)?);
        } else if path.components().any(|part| {
            let name = part.as_os_str();
            name == "blobs" || name == ".uploads"
        }) {
            found.push(path);
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_outlive_their_core() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let http = Http::new()?;
    let person = Person::new(&http, &cluster.core(0)?.url(), "somebody").await?;
    let users = cluster.core(0)?.data().join("users");
    let (id, address) = send(&http, &person, "hello attachment").await?;
    let (_, second) = send(&http, &person, "hello attachment").await?;
    ensure!(blobs(&users)?.len() == 1, "the same bytes are kept once");

    // The core dies while a file is on its way.
    let mut sending = begin(&person).await?;
    wait_until(PATIENCE, "the file is on its way", async || {
        Ok((blobs(&users)?.len() == 2).then_some(()))
    })
    .await?;
    cluster.core_mut(0)?.kill()?;
    let mut answer = Vec::new();
    let ended = sending.read_to_end(&mut answer).await;
    ensure!(answer.is_empty(), "a dead core answered: {ended:?}");
    ensure!(blobs(&users)?.len() == 2, "nobody cleared up yet");
    cluster.core_mut(0)?.restart(PATIENCE).await?;
    ensure!(blobs(&users)?.len() == 1, "what was half written is gone");
    for address in [&address, &second] {
        let reply = http.get(address, None).await?;
        ensure!(reply.status == 200, "{}", reply.text());
        ensure!(reply.text() == "hello attachment", "{}", reply.text());
    }

    // Deleted for good, event by event; the bytes go with the last.
    let delete = async |id: &str| -> anyhow::Result<()> {
        for _ in 0..2 {
            let url = person.url(&format!("events/{id}"));
            http.request(Method::DELETE, &url, Some(&person.token), None)
                .await?
                .expect(200)?;
        }
        Ok(())
    };
    delete(&id).await?;
    http.get(&address, None).await?.expect(404)?;
    ensure!(http.get(&second, None).await?.status == 200);
    let rest = second.strip_prefix(&person.url("events/"));
    let id = rest.and_then(|rest| rest.split('/').next());
    delete(id.context("no event in the address")?).await?;
    wait_until(PATIENCE, "the bytes are deleted", async || {
        Ok(blobs(&users)?.is_empty().then_some(()))
    })
    .await?;
    Ok(())
}
