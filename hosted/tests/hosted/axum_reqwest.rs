//! `axum::serve`, called with reqwest through a host name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use sim::prelude::*;
use tokio::signal::unix::{SignalKind, signal};

async fn serve() -> std::io::Result<()> {
    let greet = |Path(name): Path<String>| async move { format!("hello {name}") };
    let count = |State(count): State<Arc<AtomicU32>>| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        count.fetch_add(1, Ordering::Relaxed).to_string()
    };
    let routes =
        Router::new().route("/hello/{name}", get(greet)).route("/count", post(count)).with_state(Arc::default());
    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
    let mut terminated = signal(SignalKind::terminate())?;
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await
}

async fn text(url: &str) -> Result<String, reqwest::Error> {
    reqwest::get(url).await?.error_for_status()?.text().await
}

#[sim::test(seeds = 20)]
async fn a_request_through_a_host_name_is_answered() {
    node("api").host_async(serve);
    sim::time::sleep(10.ms()).await;
    let client = node("client").host_async(|| async {
        for name in ["world", "you"] {
            assert_eq!(text(&format!("http://api:8080/hello/{name}")).await?, format!("hello {name}"));
        }
        let unknown = text("http://nobody:8080/").await.unwrap_err();
        assert!(unknown.is_connect(), "{unknown:?}");
        Ok::<(), reqwest::Error>(())
    });
    client.join().await;
}

#[tokio::main]
async fn main_with_threads() -> std::io::Result<()> {
    serve().await
}

#[sim::test(seeds = 20)]
async fn clients_retry_through_crashes_and_a_cut() {
    let api = node("api").host(main_with_threads);
    let answered = Arc::new(AtomicU32::new(0));
    let count = answered.clone();
    let client = node("client").host_async(move || {
        let count = count.clone();
        async move {
            let client = reqwest::Client::builder().timeout(Duration::from_secs(1)).build()?;
            while count.load(Ordering::Relaxed) < 20 {
                // A crash may come between the head of an answer and its body.
                let answer = async { client.get("http://api:8080/hello/you").send().await?.text().await };
                match answer.await {
                    Ok(text) => {
                        assert_eq!(text, "hello you");
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
            Ok::<(), reqwest::Error>(())
        }
    });
    for _ in 0..3 {
        sim::time::sleep(random().range(1..50).ms()).await;
        api.crash();
        sim::time::sleep(random().range(1..500).ms()).await;
        api.restart();
        let cut = sim::net::partition("client", "api");
        sim::time::sleep(random().range(1..3_000).ms()).await;
        drop(cut);
    }
    client.join().await;
    assert_eq!(answered.load(Ordering::Relaxed), 20);
}

#[sim::test(seeds = 20)]
async fn sigterm_lets_a_request_under_way_finish() {
    let api = node("api").host_async(serve);
    sim::time::sleep(10.ms()).await;
    let client = node("client").host_async(|| async {
        let client = reqwest::Client::new();
        let answer = client.post("http://api:8080/count").send().await?.text().await?;
        assert_eq!(answer, "0");
        Ok::<(), reqwest::Error>(())
    });
    sim::time::sleep(100.ms()).await;
    api.terminate();
    client.join().await;
    api.join().await;
}
