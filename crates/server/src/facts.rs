//! x
pub async fn collect() {}
