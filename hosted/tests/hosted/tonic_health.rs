//! tonic with the service of its crate for health checks: unary and streaming, over a lossy link across an ocean.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sim::net::LinkOptions;
use sim::prelude::*;
use tonic::transport::Endpoint;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

type Failure = Box<dyn std::error::Error>;

/// Serves, and changes its mind about its health every second.
async fn serve() -> Result<(), Failure> {
    let (reporter, service) = tonic_health::server::health_reporter();
    tokio::spawn(async move {
        for round in 0u32.. {
            let status = if round % 2 == 0 { ServingStatus::Serving } else { ServingStatus::NotServing };
            reporter.set_service_status("app", status).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let address = "0.0.0.0:50051".parse()?;
    Ok(tonic::transport::Server::builder().add_service(service).serve(address).await?)
}

fn app() -> HealthCheckRequest {
    HealthCheckRequest { service: "app".to_string() }
}

async fn watch(changes: Arc<AtomicU32>) -> Result<(), Failure> {
    let mut client = HealthClient::new(Endpoint::from_static("http://server:50051").connect().await?);
    for _ in 0..5 {
        client.check(app()).await?;
    }
    let mut stream = client.watch(app()).await?.into_inner();
    let mut last = None;
    while changes.load(Ordering::Relaxed) < 5 {
        let status = stream.message().await?.map(|message| message.status);
        assert!(status.is_some() && status != last, "{status:?} after {last:?}");
        last = status;
        changes.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn wan() {
    let link = LinkOptions { latency: (40.ms()..80.ms()).into(), ..LinkOptions::default() };
    sim::net::set_link_options(None, link.loss(Ratio::new(1, 50)));
}

#[sim::test(seeds = 20)]
async fn unary_and_streaming_calls_cross_a_lossy_link() {
    let changes = Arc::new(AtomicU32::new(0));
    let count = changes.clone();
    node("server").host_async(|| async { serve().await.map_err(|error| error.to_string()) });
    let client = node("client").host_async(move || {
        let count = count.clone();
        async move { watch(count).await.map_err(|error| error.to_string()) }
    });
    wan();
    client.join().await;
    assert_eq!(changes.load(Ordering::Relaxed), 5);
}
