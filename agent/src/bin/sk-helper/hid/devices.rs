//! Which FIDO devices are plugged in.

use agent::token::protocol::Device;
use ctap_hid_fido2::{HidInfo, HidParam, get_fidokey_devices};

/// The devices with the usage page of FIDO. Panics where the library can't enumerate at all.
pub(crate) fn devices() -> Vec<Device> {
    let mut devices: Vec<Device> = get_fidokey_devices().into_iter().filter_map(device).collect();
    // One device with several usages is listed once for each.
    devices.dedup_by(|a, b| a.path == b.path);
    devices
}

fn device(info: HidInfo) -> Option<Device> {
    let serial = serial(&info);
    let HidParam::Path(path) = info.param else { return None };
    Some(Device { path, product: info.product_string, serial, vendor_id: info.vid, product_id: info.pid })
}

/// The library tells the serial number only within a line of text, between the product's name and the path. Both are
/// known, so that neither can pretend to be a serial number.
fn serial(info: &HidInfo) -> String {
    let rest = info.info.strip_prefix("product=").and_then(|rest| rest.strip_prefix(info.product_string.as_str()));
    let rest = rest.unwrap_or(&info.info);
    let serial = rest.split_once(" serial_number=").and_then(|(_, rest)| rest.rsplit_once(" path="));
    serial.map(|(serial, _)| serial.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(product: &str, text: &str) -> HidInfo {
        let param = HidParam::Path("/dev/hidraw0".into());
        HidInfo { pid: 1, vid: 2, product_string: product.into(), info: text.into(), param }
    }

    #[test]
    fn serial_numbers_are_found() {
        let plain = info("Key", "product=Key usage_page=61904 usage=1 serial_number=A 1 path=\"/dev/hidraw0\"");
        assert_eq!(serial(&plain), "A 1");
        let none = info("Key", "product=Key usage_page=61904 usage=1 path=\"/dev/hidraw0\"");
        assert_eq!(serial(&none), "");
        let liar = " serial_number=9 path=";
        let text = format!("product={liar} usage_page=61904 usage=1 serial_number=1 path=\"/dev/hidraw0\"");
        assert_eq!(serial(&info(liar, &text)), "1");
    }
}
