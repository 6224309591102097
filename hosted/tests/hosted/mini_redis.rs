//! mini-redis, client and server, from its own crate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mini_redis::client;
use sim::prelude::*;
use tokio::net::TcpListener;

#[tokio::main]
async fn server() -> Result<(), String> {
    let listener = TcpListener::bind("0.0.0.0:6379").await.map_err(|error| error.to_string())?;
    mini_redis::server::run(listener, tokio::signal::ctrl_c()).await.map_err(|error| error.to_string())
}

/// Sets keys and gets them back on one connection, until it breaks: within it nothing may be lost.
async fn set_and_get(wanted: u32, done: Arc<AtomicU32>) -> Result<(), String> {
    while done.load(Ordering::Relaxed) < wanted {
        let Ok(mut redis) = client::connect("server:6379").await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while done.load(Ordering::Relaxed) < wanted {
            let number = done.load(Ordering::Relaxed);
            let (key, value) = (format!("key-{number}"), format!("value-{number}"));
            let exchange = async {
                redis.set(&key, value.clone().into()).await?;
                redis.get(&key).await
            };
            match tokio::time::timeout(Duration::from_secs(30), exchange).await {
                Ok(Ok(read)) => assert_eq!(read.as_deref(), Some(value.as_bytes()), "{key}"),
                _ => break,
            }
            done.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

#[sim::test(seeds = 10)]
async fn client_and_server_live_through_partition_and_restart() {
    let done = Arc::new(AtomicU32::new(0));
    let count = done.clone();
    let server = node("server").host(server);
    let client = node("client").host_async(move || set_and_get(60, count.clone()));
    sim::time::sleep(random().range(100..1_000).ms()).await;
    let cut = sim::net::partition("client", "server");
    let before = done.load(Ordering::Relaxed);
    sim::time::sleep(2.secs()).await;
    assert!(done.load(Ordering::Relaxed) <= before + 1, "nothing passes a cut");
    drop(cut);
    sim::time::sleep(random().range(100..1_000).ms()).await;
    server.crash();
    sim::time::sleep(random().range(1..1_000).ms()).await;
    server.restart();
    client.join().await;
    assert_eq!(done.load(Ordering::Relaxed), 60);
}

#[sim::test(seeds = 10)]
async fn a_subscriber_hears_what_is_published() {
    let _ = node("server").host(server);
    sim::time::sleep(10.ms()).await;
    let heard = Arc::new(AtomicU32::new(0));
    let count = heard.clone();
    let subscriber = node("subscriber").host_async(move || {
        let count = count.clone();
        async move {
            let redis = client::connect("server:6379").await.map_err(|error| error.to_string())?;
            let mut news = redis.subscribe(vec!["news".to_string()]).await.map_err(|error| error.to_string())?;
            while let Some(message) = news.next_message().await.map_err(|error| error.to_string())? {
                assert_eq!(&message.content[..], b"hello");
                if count.fetch_add(1, Ordering::Relaxed) == 2 {
                    break;
                }
            }
            Ok::<(), String>(())
        }
    });
    sim::time::sleep(100.ms()).await;
    let publisher = node("publisher").host_async(|| async {
        let mut redis = client::connect("server:6379").await.map_err(|error| error.to_string())?;
        for _ in 0..3 {
            redis.publish("news", "hello".into()).await.map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    });
    publisher.join().await;
    subscriber.join().await;
    assert_eq!(heard.load(Ordering::Relaxed), 3);
}
