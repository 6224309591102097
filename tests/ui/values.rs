#[sim::test(time_limit = "soon")]
async fn not_a_time() {}

#[sim::test(expect = "sadness")]
async fn not_an_outcome() {}

#[sim::test(tier = "weekly")]
async fn not_a_tier() {}

#[sim::test(crate = sim)]
async fn not_quoted() {}

#[sim::test]
#[test]
async fn twice_a_test() {}

#[sim::test]
struct NotAFunction;

fn main() {}
