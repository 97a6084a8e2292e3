//! Machines reach each other as the links say.

use std::net::SocketAddr;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use super::*;

/// An echo on machine 1, and how many of a hundred datagrams come back, in which order.
async fn echoed(machines: &Network) -> anyhow::Result<Vec<u8>> {
    let place = machines.place(1)?;
    let server = machines.server(1)?;
    let to = SocketAddr::from((place.address, server.local_addr()?.port()));
    machines
        .outside(move || async move {
            server.set_nonblocking(true)?;
            let server = UdpSocket::from_std(server)?;
            let echo = tokio::spawn(async move {
                let mut buffer = [0];
                while let Ok((length, from)) = server.recv_from(&mut buffer).await {
                    let _sent = server.send_to(&buffer[..length], from).await;
                }
            });
            let client = UdpSocket::bind("0.0.0.0:0").await?;
            for number in 0..100 {
                client.send_to(&[number], to).await?;
            }
            let mut got = Vec::new();
            let mut buffer = [0];
            while timeout(Duration::from_millis(400), client.recv(&mut buffer))
                .await
                .is_ok()
            {
                got.push(buffer[0]);
            }
            echo.abort();
            Ok(got)
        })
        .await
}

impl Network {
    /// A socket on a machine, held by this process.
    fn server(&self, machine: usize) -> anyhow::Result<std::net::UdpSocket> {
        let namespace = self.machines[machine].open()?;
        std::thread::spawn(move || {
            enter(&namespace)?;
            Ok(std::net::UdpSocket::bind("0.0.0.0:0")?)
        })
        .join()
        .unwrap()
    }
}

#[tokio::test]
async fn links_lose_double_delay_and_reorder() -> anyhow::Result<()> {
    if let Some(reason) = Network::why_not().await {
        eprintln!("SKIPPED links_lose_double_delay_and_reorder: {reason}");
        return Ok(());
    }
    let machines = Network::create(2, 7).await?;
    let all: Vec<u8> = (0..100).collect();
    assert_eq!(echoed(&machines).await?, all);

    // One way is enough for no answer to come.
    machines.set(1, 0, Link::CUT)?;
    assert_eq!(echoed(&machines).await?, Vec::<u8>::new());
    assert!(machines.passed().lost >= 100);
    machines.heal();

    let lossy = Link {
        lost: 300,
        ..Link::default()
    };
    machines.set(0, 1, lossy)?;
    let got = echoed(&machines).await?;
    assert!((50..90).contains(&got.len()), "{}", got.len());

    let wild = Link {
        doubled: 200,
        delay: Duration::from_millis(30),
        jitter: Duration::from_millis(40),
        ..Link::default()
    };
    machines.set(0, 1, wild)?;
    let began = Instant::now();
    let mut got = echoed(&machines).await?;
    assert!(began.elapsed() >= Duration::from_millis(30));
    assert!(got.len() > 105, "{} of 100 with doubles", got.len());
    assert!(!got.is_sorted());
    got.sort_unstable();
    got.dedup();
    assert_eq!(got, all);
    Ok(())
}

#[tokio::test]
async fn a_machine_does_not_reach_the_host() -> anyhow::Result<()> {
    if let Some(reason) = Network::why_not().await {
        eprintln!("SKIPPED a_machine_does_not_reach_the_host: {reason}");
        return Ok(());
    }
    let here = std::net::TcpListener::bind("127.0.0.1:0")?;
    let to = here.local_addr()?;
    let machines = Network::create(1, 0).await?;
    let reached = machines
        .outside(move || async move { Ok(tokio::net::TcpStream::connect(to).await.is_ok()) })
        .await?;
    assert!(!reached, "the outside is the host itself");
    Ok(())
}
