//! scratch
#[sim::test(seeds = 5)]
async fn time_flies() {
    sim::time::sleep(std::time::Duration::from_secs(300)).await;
}
#[sim::test(seeds = 5)]
async fn hangs() {
    std::future::pending::<()>().await;
}
#[sim::test(seeds = 5)]
async fn aborts() {
    println!("hello \x1b[2J");
    std::process::abort();
}
#[sim::test(seeds = 5)]
async fn spins() {
    loop {
        std::hint::spin_loop()
    }
}
#[sim::test(seeds = 5)]
async fn blocks() {
    sim::node("n").start(|| async {
        futures::executor::block_on(std::future::pending::<()>());
    });
    sim::time::sleep(std::time::Duration::from_secs(300)).await;
}
#[sim::test(seeds = 5, expect = "panicked")]
async fn panics() {
    panic!("oh")
}
