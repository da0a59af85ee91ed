-- what EXEC and sp_executesql run is looked into
IF COL_LENGTH('dbo.Product', 'Weight') IS NULL
    EXEC('ALTER TABLE dbo.Product ADD Weight decimal(9, 3) NULL');
EXEC ('
    ALTER TABLE dbo.Product
        ADD Height int NULL;
    UPDATE dbo.Product SET Height = 0;
');
EXEC sys.sp_executesql N'DROP TABLE dbo.OldProduct';
EXECUTE sp_executesql @stmt = N'CREATE INDEX IX_Product_Weight ON dbo.Product (Weight)', @params = N'';
GO
DECLARE @sql nvarchar(max);
SET @sql = N'ALTER TABLE dbo.Product ';
SET @sql = @sql + N'DROP COLUMN OldWeight';
EXEC sp_executesql @sql;
DECLARE @other nvarchar(max) = N'DROP VIEW dbo.' + N'OldProducts'; EXEC (@other);
SELECT @sql = N'DROP PROCEDURE dbo.FindProduct';
EXEC(@sql);
GO
DECLARE @name sysname = (SELECT name FROM sys.default_constraints WHERE parent_object_id = OBJECT_ID('dbo.Product'));
DECLARE @drop nvarchar(max) = N'ALTER TABLE dbo.Product DROP CONSTRAINT ' + QUOTENAME(@name);
EXEC sp_executesql @drop;
EXEC ('EXEC (''DROP SYNONYM dbo.Goods'')');
EXEC ('USE master; DROP DATABASE old') AT LinkedServer;
EXEC ('IF OBJECT_ID(''dbo.Gone'') IS NOT NULL BEGIN DROP TABLE dbo.Gone END');
GO
