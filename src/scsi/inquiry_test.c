/* SPDX-License-Identifier: MIT */
/* INQUIRY, the vital product data, and the names in them. */
#include "scsi/fixture.h"

#include <string.h>

#define PAGE_MAX 255

/* An INQUIRY for a page; returns the bytes that came. */
static unsigned get_page(struct scsi_fixture *f, uint8_t page, uint8_t bytes[PAGE_MAX])
{
	memset(bytes, 0xee, PAGE_MAX);
	scsi_do_in(f, FIRST, CDB(0x12, 1, page, 0, PAGE_MAX, 0), bytes, PAGE_MAX);
	scsi_assert_good(f);
	assert_int_equal(f->run.task.fit, SCSI_FITS);
	assert_int_equal(bytes[1], page);
	assert_int_equal(4 + be16_get(bytes + 2), PAGE_MAX - f->run.task.residual);
	return 4u + be16_get(bytes + 2);
}

/* ---- standard data ---- */

static void test_standard_when_read_then_says_what_it_is(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[96];

	scsi_do_in(f, FIRST, CDB(0x12, 0, 0, 0, 96, 0), data, sizeof(data));
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 0);
	assert_int_equal(data[0], 0x00);
	assert_int_equal(data[1], 0x00);
	assert_int_equal(data[2], 0x06);
	assert_int_equal(data[3], 0x12); /* HISUP, format 2; NORMACA 0 */
	assert_int_equal(data[4], 91);
	assert_int_equal(data[5], 0x18); /* implicit target port groups, third party copy */
	assert_int_equal(data[7], 0x02); /* CMDQUE */
	assert_memory_equal(data + 8, "RINGLANERingla", 14);
	assert_memory_equal(data + 16, "Ringlane disk   0.1 ", 20);
	assert_int_equal(be16_get(data + 58), 0x00a0);
	assert_int_equal(be16_get(data + 60), 0x0460);
	assert_int_equal(be16_get(data + 62), 0x04c0);
	assert_int_equal(be16_get(data + 64), 0x0600);
	assert_int_equal(be16_get(data + 66), 0);
}

static void test_standard_when_the_allocation_length_is_any_then_as_much(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t whole[96], data[300];

	scsi_do_in(f, FIRST, CDB(0x12, 0, 0, 0, 96, 0), whole, sizeof(whole));
	for (unsigned length = 0; length <= 300; length += 5) {
		size_t expected = MIN(length, 96u);

		memset(data, 0xee, sizeof(data));
		scsi_do_in(f, FIRST, CDB(0x12, 0, 0, (uint8_t)(length >> 8), (uint8_t)length, 0),
			   data, sizeof(data));
		scsi_assert_good(f);
		scsi_assert_residual(f, SCSI_FITS, sizeof(data) - expected);
		assert_memory_equal(data, whole, expected);
		assert_int_equal(data[expected], 0xee);
	}
}

static void test_page_when_not_there_then_the_field_is_named(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[96];

	scsi_do_in(f, FIRST, CDB(0x12, 0, 1, 0, 96, 0), data, sizeof(data)); /* no EVPD */
	scsi_assert_bad_cdb(f, 2, -1);
	scsi_do_in(f, FIRST, CDB(0x12, 1, 0xb7, 0, 96, 0), data, sizeof(data));
	scsi_assert_bad_cdb(f, 2, -1);
	f->well_known = true;
	scsi_do_in(f, FIRST, CDB(0x12, 1, 0xb0, 0, 96, 0), data, sizeof(data));
	scsi_assert_bad_cdb(f, 2, -1);
	scsi_do_in(f, FIRST, CDB(0x12, 1, 0x00, 0, 96, 0), data, sizeof(data));
	scsi_assert_good(f);
	assert_memory_equal(data, ((const uint8_t[]){ 0x1e, 0, 0, 1, 0 }), 5);
}

/* ---- pages ---- */

static void test_pages_when_listed_then_each_can_be_read_in_order(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t expected[] = { 0x00, 0x80, 0x83, 0x86, 0xb0, 0xb1, 0xb2 };
	uint8_t list[PAGE_MAX], page[PAGE_MAX];

	assert_int_equal(get_page(f, 0x00, list), 4 + sizeof(expected));
	assert_memory_equal(list + 4, expected, sizeof(expected));
	for (unsigned i = 0; i < sizeof(expected); i++) {
		get_page(f, expected[i], page);
		assert_int_equal(page[0], 0);
	}
}

struct designator {
	uint8_t code_set, association, type, length;
	const uint8_t *value;
};

/* The designators of page 83h, at most max. */
static unsigned parse_designators(const uint8_t *page, unsigned size, struct designator *d,
				  unsigned max)
{
	unsigned count = 0;

	for (unsigned at = 4; at < size; at += 4u + page[at + 3]) {
		assert_true(count < max && at + 4u + page[at + 3] <= size);
		d[count++] = (struct designator){ page[at], page[at + 1] & 0x30,
						  page[at + 1] & 0x0f, page[at + 3],
						  page + at + 4 };
	}
	return count;
}

static void test_identification_when_read_then_five_short_designators(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t page[PAGE_MAX];
	struct designator d[5];

	assert_int_equal(parse_designators(page, get_page(f, 0x83, page), d, 5), 5);
	for (unsigned i = 0; i < 5; i++)
		assert_true(d[i].length <= 32);
	assert_int_equal(d[0].code_set, 2);
	assert_int_equal(d[0].type, 1);
	assert_int_equal(d[0].length, 12);
	assert_memory_equal(d[0].value, "RINGLANEdisk", 12);
	assert_int_equal(d[1].association, 0);
	assert_int_equal(d[1].type, 3);
	assert_int_equal(be64_get(d[1].value), scsi_unit_wwn(f->unit));
	assert_int_equal(d[2].association, 0x10);
	assert_int_equal(d[2].type, 3);
	assert_int_equal(be64_get(d[2].value), f->nexuses[FIRST]->ports.target);
	assert_int_equal(d[3].type, 4);
	assert_int_equal(be32_get(d[3].value), 1);
	assert_int_equal(d[4].type, 5);
	assert_int_equal(be32_get(d[4].value), SCSI_TARGET_PORT_GROUP);
}

/* The unit's names are the same through each port, the port's are not. */
static void test_identification_when_read_through_another_port_then_another_port(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t first[PAGE_MAX], second[PAGE_MAX];
	struct designator a[5], b[5];

	parse_designators(first, get_page(f, 0x83, first), a, 5);
	scsi_do_in(f, SECOND, CDB(0x12, 1, 0x83, 0, PAGE_MAX, 0), second, PAGE_MAX);
	parse_designators(second, 4u + be16_get(second + 2), b, 5);
	assert_memory_equal(a[1].value, b[1].value, 8);
	assert_memory_not_equal(a[2].value, b[2].value, 8);
	assert_int_equal(be32_get(b[3].value), 2);
}

static void test_extended_inquiry_when_read_then_attributes_and_cache(void **state)
{
	uint8_t page[PAGE_MAX];

	assert_int_equal(get_page(*state, 0x86, page), 64);
	assert_int_equal(page[5], 0x07);
	assert_int_equal(page[6], 0x01);
	assert_int_equal(page[13], SCSI_SENSE_MAX);
}

static void test_block_limits_when_read_then_what_commands_check(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t page[PAGE_MAX];

	f->node->limits.physical_block_size = 4096;
	f->node->limits.optimal_io_size = 65536;
	assert_int_equal(get_page(f, 0xb0, page), 64);
	assert_int_equal(page[4], 1); /* WSNZ */
	assert_int_equal(page[5], SCSI_COMPARE_BLOCKS_MAX);
	assert_int_equal(be16_get(page + 6), 8);
	assert_int_equal(be32_get(page + 8), SCSI_TRANSFER_BYTES_MAX / 512);
	assert_int_equal(be32_get(page + 12), 128);
	assert_int_equal(be32_get(page + 20), SCSI_UNMAP_BLOCKS_MAX);
	assert_int_equal(be32_get(page + 24), SCSI_UNMAP_DESCRIPTORS_MAX);
	assert_int_equal(be32_get(page + 28), f->node->limits.discard_alignment / 512);
	assert_int_equal(be32_get(page + 32), 1u << 31);
	assert_int_equal(be64_get(page + 36), SCSI_WRITE_SAME_BLOCKS_MAX);
	for (unsigned at = 44; at < 56; at += 4)
		assert_int_equal(be32_get(page + at), 8);
	assert_int_equal(be32_get(page + 56), 0);
	assert_int_equal(be32_get(page + 60), 0);
	/* a hint that is no multiple of the physical block is none */
	f->node->limits.optimal_io_size = 65536 + 512;
	get_page(f, 0xb0, page);
	assert_int_equal(be32_get(page + 12), 0);
}

static void test_provisioning_when_the_node_discards_then_all_pages_agree(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t page[PAGE_MAX], capacity[32];

	get_page(f, 0xb2, page);
	assert_int_equal(page[5], 0xe4); /* LBPU LBPWS LBPWS10 LBPRZ */
	assert_int_equal(page[6], 0x02); /* thin */
	scsi_do_in(f, FIRST, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), capacity,
		   32);
	assert_int_equal(capacity[14] & 0xc0, 0xc0); /* LBPME LBPRZ */

	f->node->limits.discard_zeroes = false;
	get_page(f, 0xb2, page);
	assert_int_equal(page[5], 0xe0);

	f->node->limits.discard_max = 0;
	get_page(f, 0xb2, page);
	assert_int_equal(page[5], 0);
	assert_int_equal(page[6], 0);
	get_page(f, 0xb0, page);
	assert_int_equal(be32_get(page + 20), 0);
	assert_int_equal(be32_get(page + 24), 0);
	scsi_do_in(f, FIRST, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), capacity,
		   32);
	assert_int_equal(capacity[14] & 0xc0, 0);
}

/* ---- names ---- */

static void check_text(struct scsi_fixture *f, uint8_t page, const char *expected)
{
	uint8_t bytes[PAGE_MAX];

	assert_int_equal(get_page(f, page, bytes), 4 + strlen(expected));
	assert_memory_equal(bytes + 4, expected, strlen(expected));
}

static void test_names_when_set_then_told(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	const struct scsi_unit_config config = { .vendor = "ACME",
						 .product = "Sixteen letters!",
						 .revision = "12",
						 .serial = "SN 42",
						 .device_id = "id",
						 .wwn = 0x5000c50015ea71acull,
						 .rotation_rate = 7200 };
	uint8_t data[96], page[PAGE_MAX];
	struct designator d[5];

	scsi_fixture_add(f, scsi_fixture_ram(f, "disk", 1 << 20), &config);
	scsi_do_in(f, FIRST, CDB(0x12, 0, 0, 0, 96, 0), data, sizeof(data));
	assert_memory_equal(data + 8, "ACME    Sixteen letters!12  ", 28);
	check_text(f, 0x80, "SN 42");
	parse_designators(page, get_page(f, 0x83, page), d, 5);
	assert_memory_equal(d[0].value, "ACME    id", 10);
	assert_int_equal(be64_get(d[1].value), 0x5000c50015ea71acull);
	assert_int_equal(scsi_unit_wwn(f->unit), 0x5000c50015ea71acull);
	assert_string_equal(scsi_unit_serial(f->unit), "SN 42");
	get_page(f, 0xb1, page);
	assert_int_equal(be16_get(page + 4), 7200);
	scsi_fixture_free(f);
}

/* The values are what guests have written down: they must not change with a version. */
static void test_names_when_made_then_the_same_for_ever(void **state)
{
	struct scsi_fixture *f = *state;

	check_text(f, 0x80, "disk");
	assert_int_equal(scsi_name_naa("RINGLANE", "disk"), scsi_unit_wwn(f->unit));
	assert_int_equal(scsi_unit_wwn(f->unit), 0x35087585fcef05dfull);
	assert_int_not_equal(scsi_name_naa("a", "bc"), scsi_name_naa("ab", "c"));
	assert_int_equal(scsi_name_naa("a", "bc") >> 60, 3);
}

static void test_names_when_the_node_has_a_long_one_then_hashed(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	uint8_t page[PAGE_MAX];
	struct designator d[5];

	scsi_fixture_add(f, scsi_fixture_ram(f, "n123456789012345678901234567890123456", 1 << 20),
			 NULL);
	assert_int_equal(strlen(scsi_unit_serial(f->unit)), 16);
	/* 30 characters are a serial, but no short designator */
	scsi_fixture_add(f, scsi_fixture_ram(f, "n23456789012345678901234567890", 1 << 20), NULL);
	f->target_unit = 1;
	check_text(f, 0x80, "n23456789012345678901234567890");
	parse_designators(page, get_page(f, 0x83, page), d, 5);
	assert_int_equal(d[0].length, 8 + 16);
	scsi_fixture_free(f);
}

static const struct {
	struct scsi_unit_config config;
	const char *sentence;
} refusals[] = {
	{ { .vendor = "123456789" }, "vendor must have 1 to 8 characters, not 9" },
	{ { .vendor = "" }, "vendor must have 1 to 8 characters, not 0" },
	{ { .product = "12345678901234567" }, "product must have 1 to 16 characters, not 17" },
	{ { .revision = "12345" }, "ver must have 1 to 4 characters, not 5" },
	{ { .serial = "1234567890123456789012345678901234567" },
	  "serial must have 1 to 36 characters, not 37" },
	{ { .serial = "a\tb" }, "serial must be printable ASCII" },
	{ { .device_id = "1234567890123456789012345" },
	  "device_id must have 1 to 24 characters, not 25" },
	{ { .wwn = 0x1234 },
	  "wwn 0x0000000000001234 is no NAA name: its first digit must be 2, 3 or 5" },
	{ { .logical_block_size = 1000 },
	  "logical_block_size must be a power of two between 512 and 65536, not 1000" },
	{ { .logical_block_size = 256 },
	  "logical_block_size must be a power of two between 512 and 65536, not 256" },
	{ { .logical_block_size = 131072 },
	  "logical_block_size must be a power of two between 512 and 65536, not 131072" },
};

static void test_unit_when_a_setting_is_wrong_then_one_sentence(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	struct block_node *node = scsi_fixture_ram(f, "disk", 1 << 20);

	for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct scsi_unit_config config = refusals[i].config;
		struct scsi_unit *unit = NULL;
		struct error error = { 0 };

		config.node = node;
		config.loop = f->loop;
		assert_true(scsi_unit_new(&config, &unit, &error) < 0);
		assert_string_equal(error.text, refusals[i].sentence);
		assert_null(unit);
	}
	assert_int_equal(node->refs, 0); /* none was kept */
	scsi_fixture_free(f);
}

static void test_unit_when_the_node_wants_larger_blocks_then_it_follows(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	struct block_node *node = scsi_fixture_ram(f, "disk", 1 << 20);
	const struct scsi_unit_config small = { .node = node,
						.loop = f->loop,
						.logical_block_size = 512 };
	struct scsi_unit *unit = NULL;
	struct error error = { 0 };

	node->limits.request_alignment = 4096;
	assert_true(scsi_unit_new(&small, &unit, &error) < 0);
	assert_string_equal(error.text,
			    "logical_block_size 512 is smaller than the 4096 bytes that node "
			    "'disk' reads and writes at once");
	scsi_fixture_add(f, node, NULL);
	assert_int_equal(f->unit->block_size, 4096);
	scsi_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_standard_when_read_then_says_what_it_is),
		scsi_test(test_standard_when_the_allocation_length_is_any_then_as_much),
		scsi_test(test_page_when_not_there_then_the_field_is_named),
		scsi_test(test_pages_when_listed_then_each_can_be_read_in_order),
		scsi_test(test_identification_when_read_then_five_short_designators),
		scsi_test(test_identification_when_read_through_another_port_then_another_port),
		scsi_test(test_extended_inquiry_when_read_then_attributes_and_cache),
		scsi_test(test_block_limits_when_read_then_what_commands_check),
		scsi_test(test_provisioning_when_the_node_discards_then_all_pages_agree),
		cmocka_unit_test(test_names_when_set_then_told),
		scsi_test(test_names_when_made_then_the_same_for_ever),
		cmocka_unit_test(test_names_when_the_node_has_a_long_one_then_hashed),
		cmocka_unit_test(test_unit_when_a_setting_is_wrong_then_one_sentence),
		cmocka_unit_test(test_unit_when_the_node_wants_larger_blocks_then_it_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
