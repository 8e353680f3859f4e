// The bytes of a model file, in memory or on disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace dcnn {

class Bytes {
 public:
  virtual ~Bytes() = default;
  virtual uint64_t size() const = 0;
  // Copies `count` bytes from `offset` on. Throws Failure where the file is shorter.
  virtual void read(uint64_t offset, size_t count, void* to) const = 0;
};

class BytesInMemory : public Bytes {
 public:
  BytesInMemory(const void* bytes, size_t size) : bytes_(static_cast<const unsigned char*>(bytes)), size_(size) {}
  uint64_t size() const override { return size_; }
  void read(uint64_t offset, size_t count, void* to) const override;

 private:
  const unsigned char* bytes_;
  size_t size_;
};

// Throws Failure for a path that cannot be opened or is not a file.
class BytesOfFile : public Bytes {
 public:
  explicit BytesOfFile(const std::string& path);
  ~BytesOfFile() override;
  BytesOfFile(const BytesOfFile&) = delete;
  BytesOfFile& operator=(const BytesOfFile&) = delete;
  uint64_t size() const override { return size_; }
  void read(uint64_t offset, size_t count, void* to) const override;

 private:
  std::string path_;
  int file_;
  uint64_t size_ = 0;
};

}  // namespace dcnn
