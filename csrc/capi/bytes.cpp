#include "capi/bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "capi/status.h"

namespace dcnn {

namespace {

// The path comes last, as it may be longer than a message.
[[noreturn]] void cannot_read(const std::string& path, int error) {
  throw Failure(DCNN_FILE, std::generic_category().message(error) + ": " + path);
}

void require_inside(uint64_t offset, size_t count, uint64_t size) {
  if (offset > size || count > size - offset) throw Failure(DCNN_MODEL, "the model file ends too early");
}

}  // namespace

void BytesInMemory::read(uint64_t offset, size_t count, void* to) const {
  require_inside(offset, count, size_);
  if (count > 0) std::memcpy(to, bytes_ + offset, count);
}

BytesOfFile::BytesOfFile(const std::string& path) : path_(path), file_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (file_ < 0) cannot_read(path_, errno);
  struct stat about {};
  const int error = fstat(file_, &about) == 0 ? 0 : errno;
  if (error == 0 && S_ISREG(about.st_mode)) {
    size_ = static_cast<uint64_t>(about.st_size);
    return;
  }
  close(file_);
  if (error != 0) cannot_read(path_, error);
  throw Failure(DCNN_FILE, "this is no file: " + path_);
}

BytesOfFile::~BytesOfFile() { close(file_); }

void BytesOfFile::read(uint64_t offset, size_t count, void* to) const {
  require_inside(offset, count, size_);
  auto* at = static_cast<unsigned char*>(to);
  while (count > 0) {
    const ssize_t got = pread(file_, at, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) cannot_read(path_, errno);
    if (got == 0) throw Failure(DCNN_MODEL, "the model file was cut while it was read: " + path_);
    at += got;
    offset += static_cast<uint64_t>(got);
    count -= static_cast<size_t>(got);
  }
}

}  // namespace dcnn
