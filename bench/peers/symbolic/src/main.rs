//! What symbolic needs for the work that Salvage's rows measure: `symcache FILE OUT` writes a lookup file,
//! `lookup FILE ADDRESSES` times lookups of hexadecimal addresses, one a line.

use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::time::Instant;

use symbolic_common::ByteView;
use symbolic_debuginfo::Object;
use symbolic_symcache::{SymCache, SymCacheConverter};

const PASSES: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["symcache", file, out] => symcache(file, out),
        ["lookup", file, addresses] => lookup(file, addresses),
        _ => Err("usage: bench-symbolic symcache FILE OUT | lookup FILE ADDRESSES".into()),
    }
}

fn symcache(file: &str, out: &str) -> Result<(), Box<dyn Error>> {
    let view = ByteView::open(file)?;
    let object = Object::parse(&view)?;
    let mut converter = SymCacheConverter::new();
    converter.process_object(&object)?;
    let mut w = BufWriter::new(File::create(out)?);
    converter.serialize(&mut w)?;
    w.flush()?;
    w.get_ref().sync_all()?; // as Salvage does
    println!("output_bytes={}", w.get_ref().metadata()?.len());
    Ok(())
}

fn lookup(file: &str, addresses: &str) -> Result<(), Box<dyn Error>> {
    let data = ByteView::open(file)?;
    let cache = SymCache::parse(&data)?;
    let text = fs::read_to_string(addresses)?;
    let addrs = text
        .lines()
        .map(|l| u64::from_str_radix(l, 16))
        .collect::<Result<Vec<_>, _>>()?;

    // Handles: the frames and their lines. The first pass makes the file resident.
    let (mut frames, mut lines) = (0u64, 0u64);
    let mut times = vec![];
    for pass in 0..=PASSES {
        (frames, lines) = (0, 0);
        let start = Instant::now();
        for &a in &addrs {
            for location in cache.lookup(a) {
                frames += 1;
                lines += u64::from(black_box(&location).line());
            }
        }
        if pass > 0 {
            times.push(start.elapsed().as_nanos() as f64 / addrs.len() as f64);
        }
    }
    times.sort_by(f64::total_cmp);
    let handles = times[PASSES / 2];

    // Text: the name of the function and of the file of each frame, not copied.
    let mut bytes = 0u64;
    times.clear();
    for _ in 0..PASSES {
        bytes = 0;
        let start = Instant::now();
        for &a in &addrs {
            for location in cache.lookup(a) {
                bytes += black_box(location.function().name()).len() as u64;
                black_box(location.file());
            }
        }
        times.push(start.elapsed().as_nanos() as f64 / addrs.len() as f64);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "ns_per_lookup={handles:.1} ns_with_names={:.1} frames={frames} lines={lines} name_bytes={bytes}",
        times[PASSES / 2]
    );
    Ok(())
}
