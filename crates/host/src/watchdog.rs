//! The kernel's watchdog: a device that resets the host unless it is written to in time.
//!
//! For the case that nothing on this host runs any more, not even what would end the server. When to write is not
//! decided here.

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use rustix::ioctl::{Opcode, Updater, opcode};

/// The byte that lets a driver stop when the device is closed ("magic close", Linux `watchdog-api`).
const MAGIC_CLOSE: &[u8] = b"V";

/// `WDIOC_SETTIMEOUT`: takes seconds, and gives back those that the driver chose.
const SET_TIMEOUT: Opcode = opcode::read_write::<c_int>(b'W', 6);

/// An armed watchdog. Dropped without [`Watchdog::disarm`], it goes on and resets the host.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
}

impl Watchdog {
    /// Opens the device, which arms it with the driver's timeout.
    ///
    /// # Errors
    /// There is no such device, or another process has it.
    pub fn arm(device: &Path) -> io::Result<Self> {
        Ok(Self { device: OpenOptions::new().write(true).open(device)? })
    }

    /// Asks for a timeout in seconds, and returns the one that is in force: drivers round. It starts anew.
    ///
    /// # Errors
    /// The driver has a fixed timeout (`EOPNOTSUPP`), does not go so far (`EINVAL`), or it is no watchdog (`ENOTTY`).
    /// Then the timeout is what it was.
    pub fn set_timeout(&self, seconds: u32) -> io::Result<u32> {
        let mut value = c_int::try_from(seconds).map_err(io::Error::other)?;
        #[allow(
            unsafe_code,
            reason = "there is no safe call for it; it reads and writes one int, which is given"
        )]
        // SAFETY: WDIOC_SETTIMEOUT is _IOWR('W', 6, int) (linux/watchdog.h), and `value` is an int that outlives the
        // call. Something else than a watchdog refuses the number.
        unsafe {
            rustix::ioctl::ioctl(&self.device, Updater::<SET_TIMEOUT, c_int>::new(&mut value))?;
        }
        u32::try_from(value).map_err(io::Error::other)
    }

    /// Puts the reset off for one more timeout.
    ///
    /// # Errors
    /// The device does not take it.
    pub fn keep_alive(&mut self) -> io::Result<()> {
        self.device.write_all(b".")
    }

    /// Stops it, where the driver allows that.
    ///
    /// # Errors
    /// The device does not take it.
    pub fn disarm(mut self) -> io::Result<()> {
        self.device.write_all(MAGIC_CLOSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_to_and_closed_by_the_magic_byte() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut watchdog = Watchdog::arm(file.path()).unwrap();
        watchdog.keep_alive().unwrap();
        watchdog.keep_alive().unwrap();
        watchdog.disarm().unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"..V");
    }

    #[test]
    fn dropped_it_goes_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut watchdog = Watchdog::arm(file.path()).unwrap();
        watchdog.keep_alive().unwrap();
        drop(watchdog);
        assert_eq!(std::fs::read(file.path()).unwrap(), b".");
    }

    #[test]
    fn the_timeout_is_asked_for_by_its_number() {
        // As linux/watchdog.h and asm-generic/ioctl.h make it.
        assert_eq!(SET_TIMEOUT, 0xC004_5706);
        let file = tempfile::NamedTempFile::new().unwrap();
        let watchdog = Watchdog::arm(file.path()).unwrap();
        let error = watchdog.set_timeout(10).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NOTTY.raw_os_error()));
        assert!(watchdog.set_timeout(u32::MAX).is_err());
        assert!(Watchdog::arm(Path::new("/nonexistent/watchdog")).is_err());
    }
}
