//! Scores a picture: score MODEL PICTURE.ppm (binary, eight bits per channel). Prints its score and each label's probability.
use std::ffi::{c_char, c_void, CStr, CString};
use std::mem::size_of;

#[repr(C)]
struct Error {
    struct_size: usize,
    status: i32,
    message: [c_char; 508],
}

#[repr(C)]
struct Image {
    struct_size: usize,
    pixels: *const u8,
    width: i64,
    height: i64,
    row_bytes: i64,
}

#[repr(C)]
struct Score {
    struct_size: usize,
    probabilities: *mut f64,
    probabilities_count: usize,
    samples: *mut f64,
    samples_count: usize,
    mean: f64,
    std: f64,
    percentile: f64,
    views: i64,
    label: i64,
    enlarged: i64,
}

#[link(name = "dcnn_fast")]
extern "C" {
    fn dcnn_error_init_sized(error: *mut Error, size: usize);
    fn dcnn_image_init_sized(image: *mut Image, size: usize, pixels: *const u8, width: i64, height: i64);
    fn dcnn_result_init_sized(result: *mut Score, size: usize);
    fn dcnn_model_open(path: *const c_char, model: *mut *mut c_void, error: *mut Error) -> i32;
    fn dcnn_model_close(model: *mut c_void);
    fn dcnn_model_labels(model: *const c_void) -> usize;
    fn dcnn_model_label(model: *const c_void, label: usize) -> *const c_char;
    fn dcnn_score(model: *const c_void, image: *const Image, options: *const c_void, result: *mut Score, error: *mut Error) -> i32;
}

/// A model, which any number of threads may use.
struct Model(*mut c_void);

unsafe impl Send for Model {}
unsafe impl Sync for Model {}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { dcnn_model_close(self.0) }
    }
}

/// The error that a call reports.
fn checked(call: impl FnOnce(*mut Error) -> i32) -> Result<(), String> {
    unsafe {
        let mut error: Error = std::mem::zeroed();
        dcnn_error_init_sized(&mut error, size_of::<Error>());
        match call(&mut error) {
            0 => Ok(()),
            _ => Err(CStr::from_ptr(error.message.as_ptr()).to_string_lossy().into_owned()),
        }
    }
}

impl Model {
    fn open(path: &str) -> Result<Model, String> {
        let path = CString::new(path).map_err(|_| "a path holds no zero".to_string())?;
        let mut model = std::ptr::null_mut();
        checked(|error| unsafe { dcnn_model_open(path.as_ptr(), &mut model, error) })?;
        Ok(Model(model))
    }

    /// The score, and a probability for each label. pixels: rows without gaps, three bytes per pixel.
    fn score(&self, pixels: &[u8], width: usize, height: usize) -> Result<(Score, Vec<f64>), String> {
        assert_eq!(pixels.len(), 3 * width * height);
        unsafe {
            let mut image: Image = std::mem::zeroed();
            dcnn_image_init_sized(&mut image, size_of::<Image>(), pixels.as_ptr(), width as i64, height as i64);
            let mut probabilities = vec![0.0; dcnn_model_labels(self.0)];
            let mut result: Score = std::mem::zeroed();
            dcnn_result_init_sized(&mut result, size_of::<Score>());
            result.probabilities = probabilities.as_mut_ptr();
            result.probabilities_count = probabilities.len();
            checked(|error| dcnn_score(self.0, &image, std::ptr::null(), &mut result, error))?;
            Ok((result, probabilities))
        }
    }

    fn label(&self, number: usize) -> String {
        unsafe { CStr::from_ptr(dcnn_model_label(self.0, number)).to_string_lossy().into_owned() }
    }
}

/// A binary PPM's pixels, width and height.
fn read_ppm(path: &str) -> Result<(Vec<u8>, usize, usize), String> {
    let wrong = || format!("{path}: is no binary PPM of eight bits a channel");
    let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let mut words = Vec::new();
    let mut at = 0;
    while words.len() < 4 {
        let end = at + bytes[at..].iter().position(|b| b.is_ascii_whitespace()).ok_or_else(wrong)?;
        words.push(String::from_utf8_lossy(&bytes[at..end]).into_owned());
        at = end + 1;
    }
    let number = |i: usize| words[i].parse::<u16>().map(usize::from).map_err(|_| wrong());
    let (width, height) = (number(1)?, number(2)?);
    if words[0] != "P6" || words[3] != "255" || bytes.len() - at < 3 * width * height {
        return Err(wrong());
    }
    Ok((bytes[at..at + 3 * width * height].to_vec(), width, height))
}

fn run() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 3 {
        return Err("usage: score MODEL PICTURE.ppm".into());
    }
    let model = Model::open(&arguments[1])?;
    let (pixels, width, height) = read_ppm(&arguments[2])?;
    let (score, probabilities) = model.score(&pixels, width, height)?;
    println!("mean {} std {} percentile {}", score.mean, score.std, score.percentile);
    for (number, probability) in probabilities.iter().enumerate() {
        println!("{} {}", model.label(number), probability);
    }
    Ok(())
}

fn main() {
    if let Err(why) = run() {
        eprintln!("{why}");
        std::process::exit(1);
    }
}
