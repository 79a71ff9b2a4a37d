fn main() {
    for path in std::env::args().skip(1) {
        for verify in [true, false] {
            let start = std::time::Instant::now();
            let mut tables = binlog::Tables::default();
            let mut stats = binlog::Stats::new(binlog::StatsOptions::default());
            let options = binlog::ReadOptions { verifies_checksums: verify, ..Default::default() };
            let walked = binlog::walk(std::fs::File::open(&path).unwrap(), options, &mut tables, |item| stats.see(item)).unwrap();
            let bytes = walked.bytes;
            stats.end_log(walked);
            let took = start.elapsed();
            println!("{path} verify={verify} {:.3}s {:.0} MB/s", took.as_secs_f64(), bytes as f64 / 1e6 / took.as_secs_f64());
            if verify { println!("{:?}", stats.report(&tables).total); }
        }
    }
}
